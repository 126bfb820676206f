# Every target sets up .venv by itself, and again when a dependency changes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PEERS := .venv-peers

.PHONY: help train test test-blas test-lowest test-lowest-train test-libraries test-rllib test-benchmarl test-rlzoo coverage lint bench bench-peers validate-peers

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(READY) ## train PPO on the Dumbbell network and compare it with the references
	$(BIN)/python train.py --config configs/train/ppo_dumbbell.yaml

test: $(READY) ## run all tests on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-blas: $(READY) ## test what compares bits under every kernel of OpenBLAS that this processor can run
	$(BIN)/python tests/blas.py -n 2

LOWEST := .venv-lowest
CORE := tests/test_lowest.py tests/test_yaml_io.py tests/test_files.py tests/test_scenario.py tests/test_topologies.py \
	tests/test_optimum.py tests/test_optimum_static.py tests/test_tuning.py tests/simulator/test_state.py \
	tests/simulator/test_recording.py

test-lowest: $(LOWEST)/.ready ## test the core with the lowest versions that pyproject.toml allows; old ones warn
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -q -n 2 -p no:cacheprovider -o filterwarnings=default $(CORE)

$(LOWEST)/.ready: pyproject.toml setup.py constraints-lowest.txt
	@echo "Setting up $(LOWEST); the first time takes a minute."
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt \
		-e '.[multi,tune,tables]' pytest pytest-xdist hypothesis
	@touch $@

TRAINING := tests/test_train.py tests/test_train_config.py tests/test_learned.py tests/test_local.py tests/test_imitation.py

test-lowest-train: $(LOWEST)-train/.ready ## the same of the extra train; its old torch has CUDA and takes gigabytes
	OMP_NUM_THREADS=1 $(LOWEST)-train/bin/python -m pytest -q -n 2 -p no:cacheprovider -o filterwarnings=default $(TRAINING)

$(LOWEST)-train/.ready: pyproject.toml setup.py constraints-lowest.txt
	@echo "Setting up $(LOWEST)-train; the first time takes some minutes."
	$(PYTHON) -m venv $(LOWEST)-train
	$(LOWEST)-train/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt \
		-e '.[train,multi,tune,tables]' pytest pytest-xdist hypothesis
	@touch $@

LIBRARIES := .venv-libraries

test-libraries: $(LIBRARIES)/.ready ## test the examples, and that TorchRL, Minari, SuperSuit and PyTorch Geometric take the environments
	OMP_NUM_THREADS=1 $(LIBRARIES)/bin/python -m pytest -q -n 2 -o filterwarnings=default tests/libraries/test_*.py

$(LIBRARIES)/.ready: pyproject.toml setup.py constraints.txt constraints-libraries.txt
	@echo "Setting up $(LIBRARIES); the first time takes some minutes."
	$(PYTHON) -m venv $(LIBRARIES)
	$(LIBRARIES)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-c constraints-libraries.txt -e '.[train,multi,graph,tune,libraries]' pytest pytest-xdist hypothesis
	@touch $@

# These pin versions that the others do not want: an environment of its own for each.
IN_OWN = OMP_NUM_THREADS=1 $(<D)/bin/python -m pytest -q -o filterwarnings=default

test-rllib: .venv-rllib/.ready ## test that RLlib trains on the environments
	$(IN_OWN) tests/libraries/rllib/test_rllib.py

test-benchmarl: .venv-benchmarl/.ready ## test that BenchMARL trains on the environments
	$(IN_OWN) tests/libraries/benchmarl/test_benchmarl.py

test-rlzoo: .venv-rlzoo/.ready ## test that rl-zoo3 trains on the environments
	$(IN_OWN) tests/libraries/rlzoo/test_rlzoo.py

.venv-%/.ready: pyproject.toml setup.py constraints-%.txt
	@echo "Setting up .venv-$*; the first time takes some minutes."
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-$*.txt \
		-e '.[$*]' pytest hypothesis
	@touch $@

coverage: $(READY) ## run all tests and see that enough of the package was executed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov --cov-report=term

lint: $(READY) ## ruff, its format, spelling, pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright

bench: $(READY) ## measure events per second, solver and environment speed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

bench-peers: $(READY) $(PEERS)/.ready ## measure other simulators on the five-node chain, side by side with ours
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.peers --python $(PEERS)/bin/python

validate-peers: $(READY) $(PEERS)/.ready ## see that other simulators find the rates, fidelities and latencies that ours finds
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.peers.agreement --python $(PEERS)/bin/python

$(PEERS)/.ready: benchmarks/peers/requirements.txt
	@echo "Setting up $(PEERS); the first time takes some minutes."
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	@touch $@

$(READY): pyproject.toml setup.py constraints.txt
	@echo "Setting up .venv; the first time takes some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	@touch $@
