"""Folders of calendar files, whatever the format of each: what they hold, to the byte."""

from collections.abc import Callable, Collection, Iterator

from orchestrator.errors import ItemRejected
from orchestrator.items import Damaged, File, Folder, Found, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.formats.calendar_material import Material, check_text, icalendar_material
from workers.formats.calendar_objects import Shape, found_in
from workers.formats.calendar_rows import Convert, rows_material
from workers.formats.calendar_values import Bounds
from workers.formats.jcal import is_jcal, jcal_material
from workers.formats.tiling import blank, readable, whole_damaged

_MARKS = b"\xef\xbb\xbf \t\r\n"


def read_files(
    folder: Folder,
    rules: Rules,
    shape: Shape,
    is_record: Callable[[Collection[str]], bool],
    convert: Convert,
) -> Iterator[Found]:
    """Every byte of every file, files that lie beside another included."""
    bounds = Bounds.of(rules)
    for file in folder.files:
        for one in (file, *file.beside):
            data = readable(one)
            if isinstance(data, Damaged):
                yield data
                continue
            empty = blank(one.name, data)
            if empty is not None:
                yield empty
                continue
            material = _material(one, data, folder.owner, is_record, convert)
            if material is None:
                yield whole_damaged(one.name, data, *_why_unknown(data))
            else:
                yield from found_in(folder.owner, material, shape, rules, bounds)


def _why_unknown(data: bytes) -> tuple[Reason, str]:
    """A file without a trace of a format: overwritten, or of another one."""
    try:
        check_text(data)
    except ItemRejected as rejected:
        if rejected.reason is Reason.ZEROED:
            return rejected.reason, rejected.detail
    return Reason.UNSUPPORTED, "neither iCalendar nor JSON"


def _material(
    file: File,
    data: bytes,
    owner: UserId,
    is_record: Callable[[Collection[str]], bool],
    convert: Convert,
) -> Material | None:
    """What is in a file, by its content: names say nothing reliable."""
    first = data.lstrip(_MARKS)[:1]
    if first not in (b"[", b"{"):
        return icalendar_material(file.name, data)
    if is_jcal(data):
        return jcal_material(file.name, data)
    return rows_material(file.name, data, owner, is_record, convert)
