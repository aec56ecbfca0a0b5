import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from orchestrator.options.references import (
    Location,
    Secret,
    holds_a_secret,
    read_location,
    read_secret,
)
from orchestrator.options.spellings import Misspelt


@pytest.mark.parametrize("text", ["env:CORE_DB_URL", "env:_x9", "file:/run/secrets/core"])
def test_a_reference_is_kept_as_it_is(text: str):
    assert read_secret(text) == text
    assert read_location(text) == text
    assert TypeAdapter(Secret).validate_json(f'"{text}"', strict=True) == text


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("hunter2", "inline-secret"),
        (12345, "inline-secret"),
        ("env:NOT A NAME", "bad-reference"),
        ("env:9", "bad-reference"),
        ("file:relative", "bad-reference"),
        ("", "bad-reference"),
        (None, "bad-reference"),
    ],
)
def test_a_secret_itself_is_refused_and_not_repeated(value: object, code: str):
    with pytest.raises(Misspelt) as caught:
        read_secret(value)
    assert caught.value.code == code
    assert "hunter2" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:hunter2@db/core",
        "postgresql+psycopg://app:hunter2@db:5432/core?sslmode=require",
        "https://hunter2@dav.example.org",
        "postgresql://db/core?password=hunter2",
        "postgresql://db/core?user=a&sslpassword=hunter2",
        "s3://bucket?aws_secret_access_key=hunter2",
        "https://h/p?X-Amz-Signature=hunter2",
        "host=db user=app password=hunter2",
        "redis://:hunter2@cache",
        "https://[bad:hunter2@x",
    ],
)
def test_a_url_with_credentials_is_an_inline_secret(url: str):
    with pytest.raises(Misspelt) as caught:
        read_location(url)
    assert caught.value.code == "inline-secret"
    assert "hunter2" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///material/core.db",
        "postgresql://app@db/core",
        "postgresql:///core?host=/var/run/postgresql",
        "https://dav.example.org/users/",
        "s3://photos/restored",
    ],
)
def test_a_url_without_credentials_is_kept(url: str):
    assert read_location(url) == url


@pytest.mark.parametrize("text", ["core", "", "//db/core", "sqlite:///a b", 5, None, True])
def test_what_is_not_a_url_is_refused(text: object):
    with pytest.raises(Misspelt):
        read_location(text)


@given(st.text())
def test_any_text_is_either_kept_or_misspelt(text: str):
    for adapter in (TypeAdapter(Secret), TypeAdapter(Location)):
        try:
            assert adapter.validate_python(text) == text
        except ValidationError as invalid:
            for error in invalid.errors():
                assert isinstance(error["ctx"]["error"], Misspelt)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1))
def test_the_password_of_a_url_never_passes(password: str):
    assert holds_a_secret(f"postgresql://app:{password}@db/core")
