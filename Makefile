# Needs Python 3.11 or newer, git and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test test-clinical test-label test-deploy test-zoo test-scores lint docs bench crossval tables resolve clean

help:    ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.ready  ## a virtual environment in .venv with evoseg and its tests

# torch first and alone, so that no other package's range picks another build of it.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

demo: setup  ## kidneys on two real scans, and a roughly drawn kidney refined: labels, tables and pictures, in demo/
	$(BIN)/evoseg segment tests/data/demo -o demo --bundle kits19_contour_evolution_segmentation --overwrite
	$(BIN)/evoseg refine tests/data/demo/trunk.nii.gz --initial tests/data/initial/trunk.nii.gz -o demo/refined \
	  --bundle kits19_contour_evolution_segmentation --trajectory --overwrite
	@echo "Look at demo/overlays/ and at demo/refined/trajectory/trunk/trajectory.gif"

test: setup  ## the tests
	$(BIN)/python -m pytest

# apt-get install dicom3tools chromium chromium-driver orthanc orthanc-dicomweb openssl
# Minutes, an hour where the machine is busy: 50 batches are killed.
test-clinical: setup  ## what needs dciodvfy, dcmqi, Orthanc, Chromium or Ray; its result in tests/clinical/RESULT.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[clinical]"
	$(BIN)/python tests/clinical/result.py

# Each in an environment of its own, since they conflict with ours; their results in tests/integrations/RESULT.md
define environment
$(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
$(1)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/integrations/$(2)
$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(3)
endef

test-label: setup  ## every bundle in MONAI Label's server, over REST
	$(call environment,.venv-label,label_requirements.txt,monailabel==0.8.5 pydicom-seg timeloop girder-client)
	$(BIN)/python tests/integrations/label.py .venv-label/bin/python

test-deploy: setup  ## every bundle in MONAI Deploy's bundle operator (needs the libraries of CUDA 13, no GPU)
	$(call environment,.venv-deploy,deploy_requirements.txt,monai-deploy-app-sdk==4.0.0 holoscan-cu13 holoscan-cli)
	$(BIN)/python tests/integrations/deploy.py .venv-deploy/bin/python

test-zoo: setup  ## the model zoo's own checks on each bundle, ZOO=a checkout of Project-MONAI/model-zoo
	$(BIN)/python tests/integrations/zoo.py $(ZOO)

test-scores: setup  ## what evaluate.yaml prints of each bundle, beside what is documented, DATA=folder of the datasets
	$(BIN)/python tests/integrations/scores.py $(DATA)

lint: setup  ## ruff and mypy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lint]"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# pdoc cannot resolve what a NamedTuple is annotated with, and says so of each; modules that ask for the machine may.
docs: setup  ## the Python API as web pages, in build/docs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	PDOC_ALLOW_EXEC=1 $(BIN)/python -W "ignore:Error parsing type annotation" -m pdoc --docformat markdown \
	  --template-directory configs/docs -o build/docs pipeline data_prep

# RIVAL=the Python of an environment with nnunetv2 (without it nnU-Net is left out),
# SCAN=a .nii.gz (the demo's if none is given), LABELS=a folder of label maps (KiTS19's, say) for the metrics,
# CASES=the scans of the batch (20 for the bar).
CASES ?= 4
bench: setup  ## CPU seconds and memory beside MONAI, surface-distance and torchdiffeq
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps surface-distance==0.1
	$(BIN)/python tests/benchmarks/volume_road.py $(SCAN)
	$(BIN)/python tests/benchmarks/bundle_road.py
	$(BIN)/python tests/benchmarks/batch_road.py --cases $(CASES)
	$(BIN)/python tests/benchmarks/clinical_io.py $(if $(RIVAL),--rival $(RIVAL))
	$(BIN)/python tests/benchmarks/clinical_io_equal.py
	$(BIN)/python tests/benchmarks/ode.py
	$(BIN)/python tests/benchmarks/inverse_evolution.py
	$(BIN)/python tests/benchmarks/soft_threshold.py
	$(BIN)/python tests/benchmarks/evaluation.py $(LABELS)
	$(BIN)/python tests/benchmarks/grouping.py

# make crossval SOURCE=folder of CT and label pairs: every figure of the kidney cards' cross-validation, from nothing.
# Resumable: run it again after it was stopped. The evolution of a fold starts from the regressor of that fold.
REGRESSION := kidney_ct_regression_segmentation
EVOLUTION := kits19_contour_evolution_segmentation
score = $(BIN)/python -m monai.bundle run \
  --config_file "['bundles/$(1)/configs/train.yaml','bundles/$(1)/configs/evaluate.yaml']" --dataset_dir runs/btcv \
  --fold $$fold --weights runs/$(2)/$$fold/model.pt --output_dir runs/$(2)
FIGURES := $(BIN)/python tests/benchmarks
crossval: setup  ## cross-validate the kidney bundles, SOURCE=folder (2 hours of CPU)
	$(BIN)/evoseg prepare pairs $(SOURCE) -o runs/btcv --label kidney=1,2 --window=-125,275 --size 200 --folds 3
	for fold in 0 1 2; do \
	  $(BIN)/evoseg train $(REGRESSION) --data runs/btcv --set fold=$$fold --set output_dir=runs/regression/$$fold && \
	  $(call score,$(REGRESSION),regression) && \
	  $(BIN)/evoseg train $(EVOLUTION) --data runs/btcv --set fold=$$fold --set output_dir=runs/evolution/$$fold \
	    --set regressor_weights=runs/regression/$$fold/model.pt && \
	  $(call score,$(EVOLUTION),evolution) || exit 1; \
	done
	$(FIGURES)/kidney_figures.py crossval runs/regression/predictions runs/btcv
	$(FIGURES)/kidney_figures.py crossval runs/evolution/predictions runs/btcv
	$(FIGURES)/refinement.py paired runs/regression/predictions runs/evolution/predictions runs/btcv
	$(FIGURES)/refinement.py table runs/btcv runs/evolution
	$(FIGURES)/refinement.py solvers runs/btcv runs/evolution

# make tables SOURCE=folder of the datasets' folders: the tables of the continuous U-Net's paper, from nothing. Resumable.
# TABLES=blocks fills one of them; OPTIONS=--estimate says what the training will cost, and trains nothing.
PICTURES := busi isic2018 stare glas dsb2018 kvasir_seg
TABLES ?= efficiency blocks noise solvers rivals curves
OPTIONS ?=
tables: setup  ## fill the tables of the paper on continuous U-Nets, SOURCE=folder (OPTIONS=--estimate for its cost)
	for name in $(PICTURES); do \
	  $(BIN)/evoseg prepare $$name $(SOURCE)/$$name -o runs/pictures/$$name --size 128 || exit 1; \
	done
	for table in $(TABLES); do \
	  $(FIGURES)/fill_table.py configs/tables/continuous_unet/$$table.yaml --data runs/pictures $(OPTIONS) || exit 1; \
	done

resolve: setup  ## whether wheels for every supported Python can be found (nothing is installed)
	@for version in 3.11 3.12 3.13 3.14; do \
	  $(BIN)/python -m pip install --quiet --dry-run --ignore-installed --only-binary=:all: --target $(VENV)/resolve \
	    --python-version $$version -c constraints.txt $$($(BIN)/python -c 'import tomllib; \
	      print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"])') \
	  && echo "Python $$version: resolved" || echo "Python $$version: not from wheels alone"; done

clean:  ## remove what make made
	rm -rf $(VENV) demo build dist
