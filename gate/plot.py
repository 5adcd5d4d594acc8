"""Pictures of simulations, as PNG and SVG. The drawing library is an extra, imported when one is drawn."""

from collections.abc import Sequence
from pathlib import Path

from gate.errors import MisuseError
from gate.judge.simulate import Row

KINDS = (".png", ".svg")


def draw(rows: Sequence[Row], title: str, files: Sequence[Path]) -> None:
    """Draw, for each ratio, the part of rollouts that was reverted after a time; one picture in each of ``files``.

    Raises:
        MisuseError: the library is not installed, a file's ending is none of `KINDS`, or it cannot be written.
    """
    odd = [str(file) for file in files if file.suffix not in KINDS]
    if odd:
        raise MisuseError(f"{', '.join(odd)}: a picture's name ends in .png or .svg.")
    try:
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        do = "Install it: pip install 'rampgate-tools[plot]'."
        raise MisuseError("Pictures need matplotlib, which is not installed.", do=do) from error
    # The same simulation draws the same bytes: no date, no random ids.
    mpl.rcParams["svg.hashsalt"] = "rampgate"
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    longest = max((time for row in rows for time in row.times), default=60.0) / 60.0
    for row in rows:
        minutes = [0.0, *(time / 60.0 for time in row.times), longest]
        parts = [*(number / row.rollouts for number in range(len(row.times) + 1)), len(row.times) / row.rollouts]
        label = "healthy" if row.ratio == 1.0 else f"×{row.ratio:g}"
        axes.step(minutes, parts, where="post", label=label)
    axes.set(title=title, xlabel="minutes after the onset", ylabel="rollouts reverted", ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(title="errors, canary to stable")
    for file in files:
        try:
            figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=120)
        except OSError as error:
            raise MisuseError(f"{file}: {error.strerror or error}.") from error
