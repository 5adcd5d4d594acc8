"""The step's command, from its first moment on: a signal that comes while the rest is still loading is kept for it.

Loading takes some seconds on a busy machine. A container's first process would be deaf to SIGTERM meanwhile, and begin
a rollout for a job that is cancelled.
"""

from typing import NoReturn

from gate.interrupted import keep


def step() -> NoReturn:
    """The console script `rampgate-action`."""
    keep()
    # Late, because this is what takes the time.
    from gate.app import main  # noqa: PLC0415

    main()


if __name__ == "__main__":
    step()
