# Two commands do all the set-up: make demo, make test. Both need only Python 3.11 or newer, with venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.medsynth-installed

.PHONY: demo test docs

demo: $(INSTALLED)
	$(BIN)/medsynth generate --findings effusion -n 4 --seed 1 -o demo --overwrite > /dev/null
	@echo "The pictures are in $(CURDIR)/demo; contact-sheet.png there shows them all"

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
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[train,xrv,negspacy,radgraph,dev]'
	@touch $@

# Trains the whole bundle again, from real radiographs. WITHOUT=rsna leaves out the set whose terms are to be confirmed;
# PERCENT=10 takes a tenth of the steps, to compare recipes. The tokenizer sees the images of full sharpness four times
# as often as those that were upsampled; its decoder is sharpened on the former alone, against an adversary first.
DATA ?= ../shared/data
OUT ?= runs/cxr-mini
RUNS ?= runs
WITHOUT ?=
PERCENT ?= 100
SHARDS = $(foreach set,$(filter-out $(WITHOUT),nih rsna),$(sort $(wildcard $(DATA)/$(set)-train-*.tar)))
SHARP = $(sort $(wildcard $(DATA)/nih-train-*.tar))
# part, data, steps, run folder
train = $(BIN)/medsynth train $(1) $(2) --validation $(DATA)/nih-val-000.tar -o $(OUT) --resume \
	--set steps=$$(( $(3) * $(PERCENT) / 100 )) --run $(RUNS)/$(4)

.PHONY: bundle
bundle: $(INSTALLED)
	$(call train,tokenizer,$(SHARDS) $(SHARP) $(SHARP) $(SHARP),4300,tokenizer)
	$(call train,decoder,$(SHARP),850,adversary) --set adversary_weight=2 --set pooled_weight=0 --set crop_px=128 \
		--set average_decay=0.998 --set blend=0.75
	$(call train,decoder,$(SHARP),200,decoder)
	$(call train,aligner,$(SHARDS),900,aligner)
	$(BIN)/medsynth codebook build $(DATA)/nih-train-000.tar -o $(OUT) --bundle $(OUT) --overwrite
	$(call train,generator,$(SHARDS),3000,generator)
	$(call train,judge,$(SHARP),1250,judge)
	$(BIN)/medsynth models memory $(filter-out $(SHARP),$(SHARDS)) $(addprefix --shown ,$(SHARP)) -o $(OUT)
	$(BIN)/medsynth models reference $(DATA)/nih-test-000.tar --name nih-test -o $(OUT)
	$(BIN)/medsynth models reference $(DATA)/nih-train-000.tar --name nih-train --training --most 1000 -o $(OUT)
	cp medsynth_cli/assets/cxr-mini/NOTICE $(OUT)/NOTICE
	$(BIN)/medsynth models verify $(OUT)
