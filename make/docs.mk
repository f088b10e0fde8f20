# The documentation's tables, which are made from the code.

.PHONY: docs

docs: $(PLAIN) ## rewrite the tables of README.md and docs from the code
	@$(BIN)/python tools/tables.py
