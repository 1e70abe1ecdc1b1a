"""git in a repository of a test, with an author of its own."""

import subprocess
from pathlib import Path

AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def git(folder: Path, *arguments: str) -> str:
    """Return the output of git.  Raises CalledProcessError."""
    done = subprocess.run(
        ["git", *AUTHOR, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


_SIGNER = """\
#!/bin/sh
case "$*" in
*--verify*) echo "gpg: Signature made today" >&2; exit 0 ;;
esac
cat > /dev/null
printf '\\n[GNUPG:] SIG_CREATED none\\n' >&2
printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nnone\\n-----END PGP SIGNATURE-----\\n'
"""


def sign_all(folder: Path) -> None:
    """Let git sign each commit by a program that only looks like gpg, and show it in the log."""
    program = folder / ".git" / "signer"
    program.write_text(_SIGNER)
    program.chmod(0o755)
    for name, value in (
        ("gpg.program", str(program)),
        ("user.signingKey", "none"),
        ("commit.gpgSign", "true"),
        ("log.showSignature", "true"),
    ):
        git(folder, "config", name, value)
