# The Label Studio that the proxy is tested against: its own environment, since its pins exclude the package's.

LABEL_STUDIO := .venv-label-studio/bin/label-studio

.PHONY: label-studio-env test-label-studio screenshots bench-proxy

label-studio-env: .venv-label-studio/ready

.venv-label-studio/ready: .venv-%/ready: requirements-%.txt
	@echo "making .venv-$* with $$(grep -c '==' $<) pinned packages"
	@$(if $(UV),uv venv -q --clear --python $(PYTHON) .venv-$*,$(PYTHON) -m venv --clear .venv-$*)
	@$(if $(UV),uv pip install -q --python .venv-$*/bin/python,.venv-$*/bin/python -m pip install -q \
		--disable-pip-version-check) --require-hashes -r $<
	@touch $@

test-label-studio: $(DEV) models truss-env label-studio-env ## the proxy against a real Label Studio, started here
	@$(OFFLINE) $(BIN)/python -m pytest $(SECOND_TRY) -n 2 --dist loadfile tests/label_studio # a Label Studio for each of two

bench-proxy: $(DEV) ## how long Label Studio waits for /predict while a thousand tasks are queued
	@$(BIN)/python benchmarks/predict_latency.py

screenshots: $(DEV) models label-studio-env ## the pictures of docs/images, taken anew (needs chromium)
	@$(OFFLINE) $(BIN)/python tools/screenshots.py
