"""Which part of a Google Takeout is which category: product folders, named in any language.

A table knows the names; a folder that is in no table is judged by what lies in it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from unicodedata import normalize

CONTACTS, CALENDAR, NOTES, TASKS, PHOTOS = "contacts", "calendar", "notes", "tasks", "photos"
OTHER: Final = ""
"""A product that is known and is no category."""

_NAMES: Final[Mapping[str, str]] = {
    CONTACTS: """Contacts|Google Contacts|Kontakte|Contactos|Contatos|Contatti|Contacten|Kontakty
        |Kontakter|Kontaktpersoner|Yhteystiedot|Névjegyek|Címtár|Persoane de contact|Agendă
        |Kişiler|Контакты|Контакти|Επαφές|連絡先|通讯录|联系人|通訊錄|聯絡人|주소록|연락처
        |جهات الاتصال|אנשי קשר|รายชื่อติดต่อ|Danh bạ|Kontak|Kontakti|Stiki|Contactes|संपर्क""",
    CALENDAR: """Calendar|Google Calendar|Kalender|Google Kalender|Agenda|Google Agenda
        |Calendario|Google Calendario|Calendário|Google Agenda|Kalendarz|Kalendarz Google|Kalendář
        |Kalendár|Kalendar|Kalenteri|Google-kalenteri|Naptár|Google Naptár|Takvim|Google Takvim
        |Календарь|Google Календарь|Календар|Google Календар|Ημερολόγιο|カレンダー
        |Google カレンダー|日历|Google 日历|日曆|Google 日曆|캘린더|Google 캘린더
        |تقويم|تقويم Google|יומן|יומן Google|ปฏิทิน|Google ปฏิทิน
        |Lịch|Lịch Google|Koledar|Calendari|Kalendorius""",
    NOTES: """Keep|Google Keep|Keep Notes|Google Keep Notes|Notizen|Google Notizen|Notes|Notas
        |Notatki|Poznámky|Anteckningar|Muistiinpanot|Jegyzetek|Notlar|Заметки|Нотатки|メモ|记事|便箋""",
    TASKS: """Tasks|Google Tasks|Aufgaben|Tâches|Google Tâches|Tareas|Google Tareas|Attività
        |Tarefas|Google Tarefas|Taken|Google Taken|Zadania|Google Zadania|Lista zadań|Úkoly|Úlohy
        |Uppgifter|Opgaver|Oppgaver|Tehtävät|Feladatok|Görevler|Google Görevler|Задачи
        |Google Задачи|Завдання|Εργασίες|ToDo リスト|Google ToDo リスト|任务|工作|할 일|مهام|משימות
        |Tugas|Việc cần làm|Sarcini|Opravila|Zadaci|Tasques""",
    PHOTOS: """Google Photos|Photos|Google Fotos|Fotos|Google Foto|Google Foto's|Google Фото
        |Zdjęcia Google|Fotky Google|Google Fotky|Google フォト|Google 相册|Google 相簿
        |Google 포토|صور Google|תמונות Google|Google Kuvat|Google Fotók|Google Fotoğraflar
        |Google Foto-uri|Google Fotografije|Google Fotografii|Google Снимки|Google Photos (फ़ोटो)
        |Φωτογραφίες Google|Google Nuotraukos""",
    OTHER: """Drive|Google Drive|Mail|Gmail|YouTube|YouTube and YouTube Music
        |YouTube und YouTube Music|YouTube et YouTube Music|YouTube y YouTube Music
        |YouTube e YouTube Music|Chrome|Maps|Google Maps|Maps (your places)|Maps (Meine Orte)
        |My Maps|Location History|Location History (Timeline)|Timeline|Standortverlauf|Zeitachse
        |Fit|Google Fit|Fitbit|My Activity|Meine Aktivitäten|Mi actividad|Mon activité
        |La mia attività|Minha atividade|Mijn activiteit|Hangouts|Google Chat|Google Hangouts
        |Google Play Store|Google Play Books|Google Play Books & Texts|Google Play Movies _ TV
        |Google Play Games Services|Google Play Music|Google Play|Profile|Profil|Perfil|Saved
        |Gespeichert|Groups|Google Groups|Blogger|Voice|Google Voice|Bookmarks|News|Google News
        |Home App|Google Home|Android Device Configuration Service|Access Log Activity
        |Google Account|Google-Konto|Google Pay|Google Wallet|Google Shopping|Shopping Lists
        |Search Contributions|Street View|Arts & Culture|Arts and Culture|Classroom|Cloud Print
        |Crisis User Reports|Assistant Notes and Lists|Reminders|Discover|Google Business Profile
        |Google Meet|Google Store|Google Workspace Marketplace|Google Help Communities|Google+|+1s
        |Google+ Stream|Google+ Circles|Google+ Pages|Orkut|Recorder|Gemini|NotebookLM|Purchases
        |Package Tracking|Personal Safety|Pixel Telemetry|Question Hub|Search Notifications""",
}


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold().strip()


_CATEGORIES: Final = {
    _folded(name): category for category, names in _NAMES.items() for name in names.split("|")
}
_ROOT: Final = re.compile(r"takeout(?:[ -_].*)?", re.IGNORECASE)
_PICTURES: Final = frozenset(
    {"jpg", "jpeg", "png", "gif", "webp", "heic", "heif", "avif", "tif", "tiff", "bmp"}
)
_RENDERINGS: Final = frozenset({"html", "htm"})
_READ: Final[Mapping[str, frozenset[str]]] = {
    CONTACTS: frozenset({"vcf", "vcard", "csv", "json"}),
    CALENDAR: frozenset({"ics", "ical", "icalendar", "json"}),
    TASKS: frozenset({"json", "ics"}),
}
"""Suffixes that a product's own data has; anything beside them is the export's packing."""
_SIGNS: Final = (
    (b'"photoTakenTime"', PHOTOS),
    (b'"userEditedTimestampUsec"', NOTES),
    (b'"textContent"', NOTES),
    (b'"listContent"', NOTES),
    (b"tasks#task", TASKS),
)
_HEADS: Final = 5
"""So many JSON files are looked into before a folder is given up."""


class Products:
    """The categories of one user's export; `named`: names that an operator adds to the table."""

    def __init__(self, named: Mapping[str, str]) -> None:
        self._categories = _CATEGORIES | {_folded(name): what for name, what in named.items()}

    def split(self, path: str) -> tuple[str, str]:
        """A member's path as product and the rest with the product in it; ("", path) at the top."""
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if len(parts) > 1 and _folded(parts[0]) not in self._categories:
            known = len(parts) > 2 and _folded(parts[1]) in self._categories  # noqa: PLR2004  and a file
            if known or _ROOT.fullmatch(parts[0]):
                parts = parts[1:]
        return (parts[0] if len(parts) > 1 else ""), "/".join(parts)

    def by_name(self, product: str) -> str | None:
        """The category of a product's name, OTHER for one that is none; None: not in the table."""
        return self._categories.get(_folded(product))

    def by_content(self, paths: Sequence[str], head: Callable[[str], bytes]) -> str:
        """The category of a product whose name says nothing; `head` gives a file's first bytes."""
        suffixes = Counter(map(suffix, paths))
        data = set(suffixes) - _RENDERINGS - {""}
        if "vcf" in data and data <= _PICTURES | {"vcf", "csv"}:
            return CONTACTS
        if data == {"ics"}:
            return _of_calendar_files(paths, head)
        if "json" in data:
            for path in _jsons(paths):
                told = head(path)
                for sign, category in _SIGNS:
                    if sign in told:
                        return category
            return OTHER
        return PHOTOS if data and data <= _PICTURES else OTHER


def is_data(category: str, path: str, paths: frozenset[str]) -> bool:
    """Whether a file of a product is the category's data; `paths` are all files of the product.

    Renderings are not: Keep writes each note as JSON and again as HTML.
    """
    ending = suffix(path)
    if category in _READ:
        return ending in _READ[category]
    if category == NOTES:
        if ending in _RENDERINGS:
            return f"{path.rpartition('.')[0]}.json" not in paths
        return ending != "txt" or path.count("/") > 1
    return True


def suffix(path: str) -> str:
    """The lower-case suffix without its dot."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def _of_calendar_files(paths: Iterable[str], head: Callable[[str], bytes]) -> str:
    told = b"".join(head(path) for path in sorted(paths)[:_HEADS])
    return TASKS if b"BEGIN:VTODO" in told and b"BEGIN:VEVENT" not in told else CALENDAR


def _jsons(paths: Iterable[str]) -> list[str]:
    return sorted(path for path in paths if suffix(path) == "json")[:_HEADS]
