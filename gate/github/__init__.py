"""The gate's one door to GitHub: comments, reactions, permissions, deployments, statuses.

`port.py` says what is promised, `api.py` keeps the promise over PyGithub, `no_github.py` where there is no GitHub.
Import `api.py` late: PyGithub takes a third of a second to load.
"""
