"""What comments are answered, word for word. `RAMPGATE_UPDATE_GOLDEN=1 pytest tests/gate/commands` makes it anew."""

from dataclasses import replace

from rampgate.machine.state import Phase, Reason
from rampgate.rollout import RefusedVersion, Slot
from tests.agreed import hold_to
from tests.fakes.github import Fault
from tests.gate.commands.conftest import PullRequest

RUN = "https://github.com/acme/shop/actions/runs/55"
BAD = RefusedVersion(version="0123456789abcdef", rollout="r1", reason=Reason.REGRESSED, text="Errors ×3.", at=0.0)


def test_the_replies_to_commands_read_as_agreed(pull_request: PullRequest) -> None:
    said: list[str] = []

    def says(title: str, *bodies: str, by: str = "ann") -> None:
        said.append(f"# {title}")
        for body in bodies:
            said.append(f"> {body}\n\n{pull_request.says(body, by=by).text}")

    rollouts = pull_request.rollouts
    says("Nothing has run", "/help", "/status", "/lock incident", "/retry")
    pull_request.ruled("{requireSecondPerson: true}")
    says("The configuration names the flag", "/rollback", "/override fffffff why not", by="mia")

    rollouts.add("r1", by="@mia")
    says("One is under way", "/lock card @payments <fail> for 2h", "/unlock", "/unlock", "/retry", "/rollback")
    says("Not quite", "/promot", "/promote prodcution", "/lock x for 2 fortnights", "/rollback production v1 now")
    says("Who may not", "/promote", by="rob")
    says("Who started it", "/promote", by="mia")

    rollouts.add("r2", environment="staging")
    says("Two are under way", "/lock incident", "/abort now")

    del rollouts.kept["r2"]
    rollouts.add("r1", phase=Phase.REVERTED, lease=None, run_url=RUN)
    pull_request.github.run(55, None)
    says("It was reverted, and its run goes on", "/retry")
    pull_request.github.run(55, "failure")
    pull_request.github.fail("POST", "/rerun", Fault(status=403, message="Resource not accessible by integration"))
    says("The token may not start runs, and then it may", "/retry", "/retry")
    rollouts.refused.append(BAD)
    says("It had regressed", "/retry", "/override fffffff why not", "/override 0123456", by="mia")
    rollouts.kept["r1"] = replace(rollouts.kept["r1"], by="@eve")
    says("Somebody else may", "/override production 0123456 the source was wrong", by="mia")

    rollouts.add("r1", phase=Phase.PROMOTED, version="v3", stable=Slot(name="blue", version="v2"))
    rollouts.serves = "v3"
    says("It is promoted", "/rollback v9", "/rollback a b", "/rollback")
    text = "\n\n".join(said).replace(pull_request.github.url, "https://github.com")
    hold_to("replies-commands.md", text + "\n")
