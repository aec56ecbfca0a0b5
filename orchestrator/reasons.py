"""Why a copy was not restored: a closed set, each with a sentence for operators and for users."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """What was wrong with a copy. The value is the word in ledger, CLI, API and exports."""

    for_operator: str
    for_user: str

    def __new__(cls, value: str, for_operator: str, for_user: str) -> Self:
        """Attach both sentences to the member."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.for_operator = for_operator
        member.for_user = for_user
        return member

    CHECKSUM = (
        "checksum",
        "the bytes are not those that the manifest was made of",
        "The stored copy was altered by the failure and could not be trusted.",
    )
    UNREADABLE = (
        "unreadable",
        "the storage gave an error or fewer bytes than it promised",
        "The stored copy could not be read any more.",
    )
    CUT = (
        "cut",
        "the record ends before it is complete",
        "Only a part of it was left.",
    )
    ZEROED = (
        "zeroed",
        "a stretch of the record was overwritten with zeros or a repeated block",
        "A part of it was overwritten and is gone.",
    )
    ENCODING = (
        "encoding",
        "the text is not valid in the charset it declares, nor in UTF-8",
        "Its text was garbled beyond repair.",
    )
    CONTROL_CHARACTER = (
        "control-character",
        "the text holds NUL or other control characters",
        "Its text was garbled beyond repair.",
    )
    SYNTAX = (
        "syntax",
        "the record does not follow the grammar of its format",
        "Its stored form was damaged.",
    )
    STRUCTURE = (
        "structure",
        "parts are missing, doubled, or in the wrong place",
        "Its stored form was damaged.",
    )
    VALUE = (
        "value",
        "a value is outside what its type allows",
        "One of its values was damaged.",
    )
    RECURRENCE = (
        "recurrence",
        "the recurrence rule is contradictory or out of range; dropping it would lose events",
        "The rule by which it repeats was damaged.",
    )
    TIME_ZONE = (
        "time-zone",
        "the time zone is neither in the file nor known",
        "Its time zone could not be determined.",
    )
    ORPHAN = (
        "orphan",
        "it refers to a record that no source holds",
        "The entry that it belongs to was not found.",
    )
    EMPTY = (
        "empty",
        "there is no content",
        "Nothing of its content was left.",
    )
    TOO_LARGE = (
        "too-large",
        "it exceeds a size, count or nesting limit",
        "It is larger than the service accepts.",
    )
    UNSUPPORTED = (
        "unsupported",
        "the format is none that this category reads",
        "Its format is not one that the service can show.",
    )
    ENCRYPTED = (
        "encrypted",
        "it is encrypted and no key is at hand",
        "It is protected by a password that the service does not have.",
    )
    WRONG_OWNER = (
        "wrong-owner",
        "the copy names another owner than the place where it was found",
        "It could not be shown to be yours.",
    )
    AMBIGUOUS_OWNER = (
        "ambiguous-owner",
        "several users' ids differ only in case, spelling form or invisible characters",
        "It could not be shown to be yours.",
    )
    OUT_OF_RANGE = (
        "out-of-range",
        "a number lies outside the range or rules of its board",
        "The recorded result is not possible.",
    )
    UNKNOWN_BOARD = (
        "unknown-board",
        "the board does not exist",
        "The game or board no longer exists.",
    )
    TIME_TRAVEL = (
        "time-travel",
        "a time lies before the service began or after the loss",
        "Its date was damaged.",
    )
    SIDECAR_ALONE = (
        "sidecar-alone",
        "description of a photo that no source holds",
        "Only its description was left, not the picture itself.",
    )
    POISON = (
        "poison",
        "reading it killed a worker twice",
        "Its stored form was damaged.",
    )
    REFUSED = (
        "refused",
        "the target does not take it in any form that keeps its content",
        "The service could not take it in its original form.",
    )
    ALTERED = (
        "altered",
        "the target stored something else than was written",
        "The service could not store it unchanged.",
    )
    VERSION = (
        "version",
        "another version of an item, which neither a date nor damage tells from the one used",
        "Another version of it was found; the one from the more trusted place was used.",
    )
