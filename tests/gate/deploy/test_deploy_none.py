"""The deployer of those who deploy in an earlier step."""

from gate.deploy import Deployer, Done, NoneOptions, Workplace, build
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, DeployerContract, always


class _NoneKind:
    def deployer(self, workplace: Workplace) -> Deployer:
        return build(NoneOptions(), workplace)


class TestNone(DeployerContract):
    kind = _NoneKind()

    def test_it_says_whose_word_it_takes(self, deployer: Deployer) -> None:
        for work in (WORK, STATUS):
            done = deployer.run(work, always)
            assert isinstance(done, Done)
            assert "an earlier step" in done.text
            assert done.version is None
        assert "left as it is" in deployer.run(RETIRE, always).text
