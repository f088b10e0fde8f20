# Ours beside the stock pipeline, measured. RECORDINGS=folder takes your own, QUICK=1 is a smoke run, BENCH is passed on.

.PHONY: bench

bench: $(DEV) models ## speed, errors and memory beside the stock pipeline; writes benchmarks/RESULTS.md (about an hour)
	@PYTHONPATH=. PYTHONWARNINGS=ignore $(OFFLINE) $(BIN)/python -m benchmarks \
		$(if $(RECORDINGS),--recordings $(RECORDINGS)) $(if $(QUICK),--quick) $(BENCH)
