"""POST /api/v1/files and its siblings."""

import hashlib

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from guardian.models import Event
from tools.models import FileChunk, ToolArtifact
from tools.models.artifact import MAX_FILE_BYTES

URL = "/api/v1/files"


def upload(client, content: bytes = b"hello", name: str = "a.tar.gz"):
    return client.post(URL, {"file": SimpleUploadedFile(name, content)}, format="multipart")


@pytest.fixture
def client(api, lead):
    return api(lead)


def test_stores_a_file_and_gives_back_the_same_bytes(client):
    content = bytes(range(256)) * 9000  # more than two chunks

    answer = upload(client, content)

    assert answer.status_code == 201
    assert answer.data["sha256"] == hashlib.sha256(content).hexdigest()
    assert answer.data["size"] == len(content)
    assert FileChunk.objects.count() == 3
    back = client.get(f"{URL}/{answer.data['id']}")
    assert back.content == content
    assert back["X-Content-Type-Options"] == "nosniff"
    assert back["Content-Disposition"] == "attachment; filename*=utf-8''a.tar.gz"
    assert Event.objects.filter(kind="tools.file.stored").count() == 1


def test_the_same_bytes_again_answer_200_with_the_same_id(client):
    first = upload(client)

    again = upload(client, name="other.name")

    assert (again.status_code, again.data["id"]) == (200, first.data["id"])
    assert ToolArtifact.objects.count() == 1


def test_takes_a_raw_body_with_content_disposition(client):
    answer = client.post(
        URL,
        b"raw bytes",
        content_type="application/gzip",
        HTTP_CONTENT_DISPOSITION="attachment; filename*=UTF-8''na%C3%AFve.tar.gz",
    )

    assert answer.status_code == 201
    assert (answer.data["name"], answer.data["media_type"]) == ("naïve.tar.gz", "application/gzip")


def test_strips_folders_from_the_name(client):
    answer = client.post(
        URL,
        b"x",
        content_type="text/plain",
        HTTP_CONTENT_DISPOSITION='attachment; filename="../../etc/passwd"',
    )

    assert answer.data["name"] == "passwd"


@pytest.mark.parametrize("body", [b"", b"no name"])
def test_refuses_a_raw_body_without_bytes_or_name(client, body):
    answer = client.post(URL, body, content_type="application/gzip")

    assert (answer.status_code, answer.data["code"]) == (400, "invalid")


def test_refuses_a_form_without_file_or_with_unknown_fields(client):
    missing = client.post(URL, {}, format="multipart")
    unknown = client.post(URL, {"flie": "x"}, format="multipart")

    assert (missing.status_code, missing.data["code"]) == (400, "invalid")
    assert (unknown.status_code, unknown.data["code"]) == (400, "unknown_field")


def test_refuses_an_empty_file(client):
    assert upload(client, b"").status_code == 400


def test_refuses_more_than_20_mib(client):
    answer = upload(client, b"\0" * (MAX_FILE_BYTES + 1))

    assert (answer.status_code, answer.data["code"]) == (413, "body_too_large")
    assert not ToolArtifact.objects.exists()


def test_refuses_what_exceeds_the_teams_quota(client, monkeypatch):
    monkeypatch.setattr("tools.services.files.TEAM_QUOTA_BYTES", 10)

    assert upload(client, b"123456").status_code == 201
    answer = upload(client, b"abcdef")

    assert (answer.status_code, answer.data["code"]) == (429, "artifact_quota")
    assert upload(client, b"123456").status_code == 200


def test_a_foreign_file_is_404_and_deduplication_stays_in_the_team(client, api, outsider):
    mine = upload(client).data["id"]
    stranger = api(outsider)

    assert stranger.get(f"{URL}/{mine}").status_code == 404
    assert stranger.get(f"{URL}/{mine}/meta").data["code"] == "file_missing"
    assert stranger.delete(f"{URL}/{mine}").status_code == 404
    theirs = upload(stranger)
    assert theirs.status_code == 201
    assert theirs.data["id"] != mine
    assert FileChunk.objects.count() == 1


def test_deleting_takes_the_bytes_with_the_last_row(client, api, outsider):
    mine, theirs = upload(client).data["id"], upload(api(outsider)).data["id"]

    assert client.delete(f"{URL}/{mine}").status_code == 204
    assert api(outsider).get(f"{URL}/{theirs}").content == b"hello"
    assert api(outsider).delete(f"{URL}/{theirs}").status_code == 204

    assert not FileChunk.objects.exists()
    assert client.get(f"{URL}/{mine}").status_code == 404


def test_only_uploader_or_admin_deletes(client, api, admin, agent):
    mine = upload(client).data["id"]

    assert api(agent).delete(f"{URL}/{mine}").status_code == 403
    assert api(admin).delete(f"{URL}/{mine}").status_code == 204


def test_viewers_read_and_do_not_write(client, api, viewer):
    mine = upload(client).data["id"]

    assert api(viewer).get(f"{URL}/{mine}").status_code == 200
    assert upload(api(viewer), b"new").status_code == 403
    assert api().get(f"{URL}/{mine}").status_code == 401
