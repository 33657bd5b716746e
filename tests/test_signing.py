"""Keys: whichever file is given, a release is signed or checked, or one error names the file and how to make a key."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hallmark.release.checking import check
from hallmark.release.shipping import release
from hallmark.release.signing import PASSWORD_VARIABLE, PUBLIC_HALF, sign
from tests.made_up_release import parts, write_clone, write_release
from tests.rows import refused
from tests.small_pipeline import shell
from tests.test_forged import FORGED
from tests.test_forged import refused as forgery

pytest.importorskip("model_signing", reason="extra sign")
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the keys as the docs do")

EC = "ecparam -genkey -noout -name"
KINDS = {
    "good": f"{EC} prime256v1",
    "p384": f"{EC} secp384r1",
    "k1": f"{EC} secp256k1",
    "rsa": "genpkey -algorithm rsa",
    "params": "ecparam -name prime256v1",  # without a key
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys of all kinds (`NAME.pem`, `NAME.pub`), and what else a user may take for one."""
    folder = tmp_path_factory.mktemp("keys")
    lines = [f"openssl {command} -out {name}.pem 2> log" for name, command in KINDS.items()]
    lines += [f"openssl pkey -in {name}.pem -pubout -out {name}.pub" for name in KINDS if name != "params"]
    lines += [
        "openssl ec -in good.pem -aes256 -passout pass:secret -out locked.pem 2> log",
        "openssl req -x509 -key good.pem -subj /CN=x -days 1 -out certificate.pem",
        "head -c 70000 /dev/zero > large.pem",
        "head -c 60 good.pem > cut.pem && head -c 60 good.pub > cut.pub",
    ]
    shell(" && ".join(lines), folder)
    os.mkfifo(folder / "fifo.pem")
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose release passed the gate."""
    folder = tmp_path_factory.mktemp("clone")
    it = parts()
    rules = [{"name": "sample.records", "outcome": "pass"}]
    it["gate"] = {"verdict": "pass", "words": "May ship.", "rules": rules}
    write_clone(folder, folder / "models/release", write_release(folder / "models/release", it))
    return folder


NO_PRIVATE_KEY = ("rsa.pem", "params.pem", "cut.pem", "large.pem", "fifo.pem", "absent.pem", "good.pub", "locked.pem")


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("name", NO_PRIVATE_KEY)
def test_what_is_no_key_to_sign_with_is_one_error_before_anything_is_copied(
    keys: Path, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    monkeypatch.chdir(clone)
    monkeypatch.setenv(PASSWORD_VARIABLE, password)
    with refused(PASSWORD_VARIABLE, file=keys / name):
        release(Path("models/release"), tmp_path / "out", keys / name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["k1.pub", "rsa.pub", "good.pem", "certificate.pem", "cut.pub", "fifo.pem"])
def test_what_is_no_key_to_check_with_is_one_error(keys: Path, clone: Path, name: str) -> None:
    with refused(PUBLIC_HALF, file=keys / name):
        check(clone / "models/release", None, keys / name)


@pytest.mark.parametrize(
    ("private", "public", "password"),
    [
        ("good.pem", "good.pub", "of another key"),  # a password that is set and not needed
        ("p384.pem", "p384.pub", ""),
        ("locked.pem", "good.pub", "secret"),
    ],
)
def test_a_key_of_the_right_kind_signs_and_its_public_half_checks(
    keys: Path, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: str, public: str, password: str
) -> None:
    monkeypatch.chdir(clone)
    monkeypatch.setenv(PASSWORD_VARIABLE, password)
    release(Path("models/release"), tmp_path / "out", keys / private)
    finding = check(tmp_path / "out", None, keys / public)
    assert (finding.exit_code, finding.wrong) == (0, [])
    assert finding.lines[0] == f"proven by the signature of {public}"
    (tmp_path / "out/README.md").write_text("changed", encoding="utf-8")
    assert check(tmp_path / "out", None, keys / public).exit_code == 1


def test_a_signature_is_not_checked_over_what_is_no_plain_file(
    keys: Path, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    release(Path("models/release"), tmp_path / "out", keys / "good.pem")
    os.mkfifo(tmp_path / "out/pipe")  # which model signing would wait for
    finding = check(tmp_path / "out", None, keys / "good.pub")
    assert "the signature was not checked, since not everything there is a plain file" in finding.wrong
    assert finding.exit_code == 1


def test_a_signature_that_leaves_files_out_proves_nothing(clone: Path, keys: Path, tmp_path: Path) -> None:
    import model_signing

    folder = tmp_path / "out"
    shutil.copytree(clone / "models/release", folder)
    ignoring = model_signing.hashing.Config().set_ignored_paths(paths=["model.sig", "verdict.json"])
    signing = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys / "good.pem")
    signing.set_hashing_config(ignoring).sign(folder, folder / "model.sig")
    finding = check(folder, public_key=keys / "good.pub")
    assert (finding.exit_code, finding.proof) == (1, [])
    assert any("leaves out verdict.json" in line for line in finding.wrong)


def test_a_resealed_release_is_refused_with_the_key_of_whoever_signed_the_first(
    clone: Path, keys: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(clone / "models/release", tmp_path / "release"))
    sign(folder, keys / "good.pem")
    for number, forge in enumerate(FORGED[:6]):
        it = parts()
        forge(it)
        forged = tmp_path / f"forged{number}"
        write_release(forged, it)
        assert "no model.sig" in forgery(forged, None, keys / "good.pub")
        shutil.copyfile(folder / "model.sig", forged / "model.sig")
        assert "the signature is not valid for good.pub" in forgery(forged, None, keys / "good.pub")
        sign(forged, keys / "p384.pem")
        assert "the signature is not valid for good.pub" in forgery(forged, None, keys / "good.pub")
    (folder / ".git").mkdir()
    (folder / ".git/evil.bin").write_bytes(b"x")  # model signing looks away from .git
    assert ".git is hidden" in forgery(folder, None, keys / "good.pub")
    shutil.rmtree(folder / ".git")
    (folder / "model.sig").write_text("[" * 100_000)
    assert "the signature is not valid" in forgery(folder, None, keys / "good.pub")
