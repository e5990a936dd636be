"""Rows of the plan: a training run, judged before it is started, and its adapter afterwards."""

from __future__ import annotations

from mlx_preflight.plan import remedies
from mlx_preflight.plan.spec import Check, Session, ids

RUN1_CONFIG, RUN2_MACHINE, RUN3_MODEL = "run1-config", "run2-machine", "run3-model"
RUN4_DATA, RUN5_MEMORY = "run4-data", "run5-memory"
RUN6_REHEARSAL, RUN7_DURATION = "run6-rehearsal", "run7-duration"
FINISH1_ADAPTER, FINISH2_MODEL = "finish1-adapter", "finish2-model"

RUN1_1, RUN1_2, RUN1_3, RUN1_4, RUN1_5, RUN1_6, RUN1_7, RUN1_8, RUN1_9, RUN1_10 = ids("RUN1.", 10)
RUN2_1, RUN2_2, RUN2_3, RUN2_4, RUN2_5 = ids("RUN2.", 5)
RUN3_1, RUN3_2, RUN3_3, RUN3_4 = ids("RUN3.", 4)
RUN4_1, RUN4_2, RUN4_3, RUN4_4, RUN4_5, RUN4_6 = ids("RUN4.", 6)
RUN4_7, RUN4_8, RUN4_9, RUN4_10, RUN4_11, RUN4_12 = (f"RUN4.{n}" for n in range(7, 13))
RUN5_1, RUN5_2, RUN5_3 = ids("RUN5.", 3)
RUN6_1, RUN6_2, RUN6_3 = ids("RUN6.", 3)
RUN7_1, RUN7_2 = ids("RUN7.", 2)
FINISH1_1, FINISH1_2, FINISH1_3, FINISH1_4, FINISH1_5, FINISH1_6 = ids("FINISH1.", 6)
FINISH2_1, FINISH2_2, FINISH2_3, FINISH2_4, FINISH2_5 = ids("FINISH2.", 5)

TRAINING = (
    Session(
        RUN1_CONFIG,
        "Run 1: the configuration says what is meant",
        "run",
        "training.config",
        (
            Check(RUN1_1, "the configuration can be read"),
            Check(RUN1_2, "the installed mlx-lm reads every key"),
            Check(RUN1_3, "every value has the type and the range that the trainer needs"),
            Check(RUN1_4, "no setting contradicts another, or has no effect"),
            Check(RUN1_5, "model and data are named"),
            Check(RUN1_6, "the adapters can be made, and something is trained"),
            Check(RUN1_7, "optimizer and schedule can be made"),
            Check(RUN1_8, "the resumed adapters fit"),
            Check(RUN1_9, "no earlier adapters are overwritten", "name another adapter_path"),
            Check(RUN1_10, "what the run reports to is installed"),
        ),
        stack="model",
    ),
    Session(
        RUN2_MACHINE,
        "Run 2: the machine is ready",
        "run",
        "training.machine",
        (
            Check(RUN2_1, "the memory budget of the run is known"),
            Check(RUN2_2, "nothing else holds or swaps the memory", "close other programs"),
            Check(RUN2_3, "power and temperature let a long run finish"),
            Check(RUN2_4, "the disk holds what the run writes", "free disk space"),
            Check(RUN2_5, "the limit of open files suffices", "raise it: `ulimit -n 4096`"),
        ),
        stack="model",
        parallel=False,
    ),
    Session(
        RUN3_MODEL,
        "Run 3: the model is here and can be trained",
        "run",
        "training.model",
        (
            Check(RUN3_1, "the model is on this machine", remedies.DOWNLOAD_AGAIN),
            Check(RUN3_2, "mlx-lm knows the architecture"),
            Check(RUN3_3, "the checkpoint is complete and intact", remedies.DOWNLOAD_AGAIN),
            Check(RUN3_4, "the tokenizer loads, and no code of it is run", remedies.OWN_TOKENIZER),
        ),
        stack="model",
    ),
    Session(
        RUN4_DATA,
        "Run 4: the data teaches what is meant",
        "run",
        "training.data",
        (
            Check(RUN4_1, "every file can be read, line by line"),
            Check(RUN4_2, "every row has the format of the first one"),
            Check(RUN4_3, "there are enough rows for every batch"),
            Check(RUN4_4, "every row can be rendered and tokenized"),
            Check(RUN4_5, "every batch trains a token, so no loss is NaN"),
            Check(RUN4_6, "the length limit cuts little"),
            Check(RUN4_7, "the mask leaves the answers, and nothing else"),
            Check(RUN4_8, "no key of a row is ignored"),
            Check(RUN4_9, "no row is there twice"),
            Check(RUN4_10, "tool arguments are objects"),
            Check(RUN4_11, "every row teaches where to stop"),
            Check(RUN4_12, "the batches of every iteration are known"),
        ),
        stack="model",
        parallel=False,
    ),
    Session(
        RUN5_MEMORY,
        "Run 5: the memory suffices",
        "run",
        "training.memory",
        (
            Check(RUN5_1, "the peak of the training batches is predicted"),
            Check(RUN5_2, "the peak of the validation batches is predicted"),
            Check(RUN5_3, "the higher peak is within the budget", remedies.OVER_BUDGET),
        ),
        stack="model",
        parallel=False,
    ),
    Session(
        RUN6_REHEARSAL,
        "Run 6: a step works here",
        "rehearsal",
        "training.rehearsal",
        (
            Check(RUN6_1, "forward, backward and update work on slices of the model"),
            Check(RUN6_2, "the seconds of a step are measured"),
            Check(RUN6_3, "the peak is within the budget as measured", remedies.OVER_BUDGET),
        ),
        stack="model",
        parallel=False,
    ),
    Session(
        RUN7_DURATION,
        "Run 7: the time suffices",
        "run",
        "training.duration",
        (
            Check(RUN7_1, "the hours of the run are known"),
            Check(RUN7_2, "they are within the limit", "raise `max-hours`, or lower `iters`"),
        ),
        stack="model",
        parallel=False,
    ),
)

FINISH = (
    Session(
        FINISH1_ADAPTER,
        "Finish 1: the adapter is complete, sound, and what was asked",
        "finish",
        "training.finished_adapter",
        (
            Check(FINISH1_1, "the adapter folder is complete and readable", remedies.ADAPTER_AGAIN),
            Check(FINISH1_2, "the base is the one of the training"),
            Check(FINISH1_3, "every tensor fits the base", remedies.OWN_BASE),
            Check(FINISH1_4, "no value is NaN or infinite", remedies.EARLIER_SAVE),
            Check(FINISH1_5, "every tensor has learned something, and none too much"),
            Check(FINISH1_6, "size and settings are those that were asked"),
        ),
        stack="model",
        parallel=False,
    ),
    Session(
        FINISH2_MODEL,
        "Finish 2: base and adapter answer better than the base",
        "finish",
        "training.finished_model",
        (
            Check(FINISH2_1, "the adapter loads on its base", remedies.OWN_BASE),
            Check(FINISH2_2, "it changes answers", remedies.LEARN_MORE),
            Check(FINISH2_3, "the held-out loss is below the base's"),
            Check(FINISH2_4, "the fused model answers as base and adapter do", remedies.FUSE_AGAIN),
            Check(FINISH2_5, "the fused model is stored like its base", remedies.FUSE_AGAIN),
        ),
        stack="model",
        parallel=False,
        runs_model=True,
    ),
)
