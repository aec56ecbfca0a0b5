// What public pages do beyond HTML: times as the reader's own clock shows them.
"use strict";

const shown = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "long", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
});
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) continue;
  time.title = time.textContent;
  time.textContent = shown.format(at);
}
