from tests.corpus import substituted


def test_template_variables_become_plausible_values():
    given = (
        b"DTSTART:$now.year.1:0101T100000\nORGANIZER;CN=$username1:;EMAIL=$email1::$cuaddrurn1:\n"
    )
    assert substituted(given).startswith(
        b"DTSTART:20270101T100000\nORGANIZER;CN=User 1;EMAIL=user1@example.org:urn:uuid:"
    )


def test_random_idents_differ_and_stay_the_same_on_every_run():
    first, second = substituted(b"$uidrandom: $uidrandom:").split()
    assert first != second
    assert substituted(b"$uidrandom:") == first


def test_what_is_no_variable_stays():
    assert substituted(b"URL:http://www.example.com$abc,def\n") == (
        b"URL:http://www.example.com$abc,def\n"
    )
