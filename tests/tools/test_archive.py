"""Unpacking what nobody vouches for."""

import gzip
import tarfile
import zipfile

import pytest

from tests.tools.archives import PASSING, bomb, member, tar_gz, zipped
from tools.sandbox.archive import ArchiveRefused, single_top, unpack


@pytest.fixture
def unpacked(tmp_path):
    def go(content: bytes, **limits):
        source = tmp_path / "source.bin"
        source.write_bytes(content)
        return unpack(source, tmp_path / "out", **limits)

    return go


def refused(unpacked, tmp_path, content: bytes, **limits) -> str:
    with pytest.raises(ArchiveRefused) as found:
        unpacked(content, **limits)
    assert not (tmp_path / "out").exists(), "nothing half-unpacked may stay"
    return found.value.code


@pytest.mark.selfcheck
@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_unpacks_regular_files_and_finds_the_single_top_folder(unpacked, tmp_path, pack):
    report = unpacked(pack(PASSING))

    assert report["files"] == 3
    assert report["bytes"] == sum(len(text) for text in PASSING.values())
    assert single_top(tmp_path / "out").name == "pkg-1.0"


@pytest.mark.selfcheck
@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "a\\..\\..\\evil", "\\evil"]
)
@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_refuses_names_that_leave_their_folder_whole(unpacked, tmp_path, pack, name):
    code = refused(unpacked, tmp_path, pack({"good.py": "1", name: "evil"}))

    assert code == "archive_unsafe"
    assert not (tmp_path / "evil").exists()


@pytest.mark.selfcheck
@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_refuses_devices_and_pipes_whole(unpacked, tmp_path, kind):
    content = tar_gz({"good.py": "1"}, [member("dev", kind, devmajor=1, devminor=3)])

    assert refused(unpacked, tmp_path, content) == "archive_unsafe"


@pytest.mark.selfcheck
def test_skips_links_and_lists_them(unpacked, tmp_path):
    links = [
        member("soft", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard", tarfile.LNKTYPE, linkname="good.py"),
    ]

    report = unpacked(tar_gz({"good.py": "1"}, links))

    assert report["files"] == 1
    assert [(s["name"], s["why"]) for s in report["skipped"]] == [
        ("soft", "symbolic link"),
        ("hard", "hard link"),
    ]


@pytest.mark.selfcheck
def test_writes_nothing_through_a_link_that_was_skipped(unpacked, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    links = [member("door", tarfile.SYMTYPE, linkname=str(outside))]
    late = member("door/evil.txt", tarfile.REGTYPE)

    unpacked(tar_gz({"good.py": "1"}, [*links, late]))

    assert list(outside.iterdir()) == []


@pytest.mark.selfcheck
def test_skips_symbolic_links_of_zips(unpacked):
    info = zipfile.ZipInfo("soft")
    info.create_system, info.external_attr = 3, 0o120777 << 16

    report = unpacked(zipped({"good.py": "1", info: "/etc/passwd"}))

    assert report["skipped"] == [{"name": "soft", "why": "symbolic link"}]


@pytest.mark.selfcheck
@pytest.mark.parametrize(
    "content",
    [
        b"not an archive at all",
        b"PK\x03\x04 broken",
        b"\x1f\x8b" + b"\0" * 50,
        tar_gz(PASSING)[:-40],
        tar_gz({"big.py": bytes(range(256)) * 4000})[:2000],
        zipped(PASSING)[:-30],
        tar_gz({}),
    ],
    ids=["text", "zip head", "gzip head", "cut", "cut early", "cut zip", "empty"],
)
def test_refuses_what_is_broken_or_empty(unpacked, tmp_path, content):
    assert refused(unpacked, tmp_path, content) == "archive_invalid"


@pytest.mark.selfcheck
def test_refuses_more_bytes_and_more_files_than_allowed(unpacked, tmp_path):
    assert refused(unpacked, tmp_path, bomb(3_000_000), max_bytes=2_000_000) == "archive_too_large"
    many = tar_gz({f"f{n}": "" for n in range(12)})
    assert refused(unpacked, tmp_path, many, max_files=10) == "archive_too_large"


@pytest.mark.selfcheck
def test_does_not_believe_the_size_a_zip_claims(unpacked, tmp_path):
    content = bytearray(zipped({"a.bin": b"\0" * 1_000_000}))
    # Central directory record: uncompressed size at offset 24.
    where = content.rindex(b"PK\x01\x02") + 24
    content[where : where + 4] = (10).to_bytes(4, "little")

    with pytest.raises(ArchiveRefused):
        unpacked(bytes(content), max_bytes=500_000)


@pytest.mark.slow
def test_refuses_a_300_mib_bomb(unpacked, tmp_path):
    assert refused(unpacked, tmp_path, bomb(300 * 1024 * 1024)) == "archive_too_large"


@pytest.mark.selfcheck
def test_no_cut_of_a_compressed_archive_passes_for_a_shorter_one(unpacked, tmp_path):
    whole = tar_gz({f"p/f{number}.py": f"x = {number}\n" for number in range(40)})

    codes = {refused(unpacked, tmp_path, whole[:cut]) for cut in range(20, len(whole), 37)}

    assert codes == {"archive_invalid"}


@pytest.mark.selfcheck
def test_a_plain_tar_needs_its_end_mark(unpacked, tmp_path):
    whole = gzip.decompress(tar_gz({"p/a.py": "x = 1\n", "p/b.py": "y = 2\n"}))
    members = 4 * 512

    assert refused(unpacked, tmp_path, whole[:members]) == "archive_invalid"
    assert refused(unpacked, tmp_path, whole[: members - 512]) == "archive_invalid"


@pytest.mark.selfcheck
def test_what_never_was_an_archive_is_not_called_cut_off(unpacked):
    with pytest.raises(ArchiveRefused, match=r"no tar, tar\.gz or zip"):
        unpacked(b"not an archive at all")
