"""The race of optimizers on several tasks, against Keras's and optax's."""

from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.optimizer_tasks import plan, report
from kbp.benchmarks.optimizer_tasks.tasks import TASKS
from kbp.benchmarks.optimizer_tasks.trial import Protocol, Trainer

RACE = register(
    Race(
        name="optimizer-tasks",
        kind="task",
        competitors=TASKS,
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
        environment={
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            # One thread each, as TensorFlow's workers have it; XLA's own flag
            # for that, xla_cpu_multi_thread_eigen, leaves two in JAX.
            "NPROC": "1",
        },
    )
)
