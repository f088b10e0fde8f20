# What can be timed on a machine that has torch, with or without a GPU, and no package index.

GPU_SITE := build/bench-gpu/site
GPU_PYTHON ?= $(if $(wildcard $(DEV)),$(BIN)/python,$(PYTHON))
# Stock pyannote.audio and what it imports, as far as it is pure Python; torchaudio, NumPy, SciPy, scikit-learn, pandas,
# PyYAML and safetensors are compiled, and torch's own machine has them.
GPU_WHEELS := asteroid-filterbanks colorlog einops julius lightning lightning-utilities opentelemetry-api \
	opentelemetry-exporter-http-transport opentelemetry-exporter-otlp-common opentelemetry-exporter-otlp-proto-common \
	opentelemetry-exporter-otlp-proto-http opentelemetry-proto opentelemetry-sdk opentelemetry-semantic-conventions \
	optuna primepy pyannote-audio pyannote-core pyannote-database pyannote-metrics pyannote-pipeline rich \
	sortedcontainers torch-audiomentations torch-pitch-shift torchmetrics

.PHONY: bench-gpu bench-gpu-wheels

bench-gpu: ## community-1's embeddings, wav2vec2 and our networks, timed where torch is; ARGS="--device cpu --seconds 30"
	@PYTHONPATH=packages:. $(GPU_PYTHON) -W ignore -m benchmarks.gpu $(ARGS)

bench-gpu-wheels: $(PLAIN) ## bring what bench-gpu needs beside torch into build/bench-gpu (asks the package index)
	@rm -rf $(GPU_SITE) && mkdir -p $(GPU_SITE)
	@for name in $(GPU_WHEELS); do \
		awk -v name="$$name" '/^[^ ]/ { wanted = index($$0, name "==") == 1 } wanted' requirements-dev.txt; \
	done > build/bench-gpu/requirements.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-compile --require-hashes \
		--target $(GPU_SITE) -r build/bench-gpu/requirements.txt
	@! find $(GPU_SITE) -name '*.so' | grep . || { echo "that is compiled: it fits one machine only" >&2; exit 1; }
	@echo "$(GPU_SITE): $$(du -sh $(GPU_SITE) | cut -f1), $$(ls -d $(GPU_SITE)/*.dist-info | wc -l) packages"
