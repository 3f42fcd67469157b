# Two commands do all the set-up: make demo, make test. Both need only Python 3.11 or newer, with venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.medsynth-installed

.PHONY: demo test docs

demo: $(INSTALLED)
	$(BIN)/medsynth generate --findings effusion -n 4 --seed 1 -o demo --overwrite
	@echo "The pictures are in $(CURDIR)/demo"

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

docs: $(INSTALLED)
	$(BIN)/python docs/generate.py

# The stamp is newer than these files as long as the environment fits them.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[train,dev]'
	@touch $@

# Trains the whole bundle again, from real radiographs. WITHOUT=rsna leaves out the set whose terms are to be confirmed.
# The tokenizer sees the images of full sharpness four times as often as those that were upsampled, and its decoder is
# sharpened on the former alone.
DATA ?= ../shared/data
OUT ?= runs/cxr-mini
WITHOUT ?=
SHARDS = $(foreach set,$(filter-out $(WITHOUT),nih rsna),$(sort $(wildcard $(DATA)/$(set)-train-*.tar)))
SHARP = $(sort $(wildcard $(DATA)/nih-train-*.tar))
TRAIN = $(BIN)/medsynth train

.PHONY: bundle
bundle: $(INSTALLED)
	$(TRAIN) tokenizer $(SHARDS) $(SHARP) $(SHARP) $(SHARP) --validation $(DATA)/nih-val-000.tar -o $(OUT) \
		--run runs/tokenizer --resume --set steps=4300 --set adversary_from=1
	$(TRAIN) tokenizer $(SHARP) --validation $(DATA)/nih-val-000.tar -o $(OUT) --start $(OUT) --run runs/sharpen \
		--resume --set steps=900 --set adversary_from=0 --set perceptual_from=0 --set adversary_weight=2 \
		--set perceptual_weight=0.5 --set adversary_rate=2e-4
	$(TRAIN) aligner $(SHARDS) --validation $(DATA)/nih-val-000.tar -o $(OUT) --run runs/aligner --resume
	$(BIN)/medsynth codebook build $(DATA)/nih-train-000.tar -o $(OUT) --bundle $(OUT) --overwrite
	$(TRAIN) generator $(SHARDS) --validation $(DATA)/nih-val-000.tar -o $(OUT) --run runs/generator --resume
	$(TRAIN) judge $(DATA)/nih-train-000.tar --validation $(DATA)/nih-val-000.tar -o $(OUT) --run runs/judge --resume
	$(BIN)/medsynth models reference $(DATA)/nih-test-000.tar --name nih-test -o $(OUT)
	cp medsynth_cli/assets/cxr-mini/NOTICE $(OUT)/NOTICE
	$(BIN)/medsynth models verify $(OUT)
