"""Takes out of a message what could tell who was recorded, where or when: folders and dates."""

from __future__ import annotations

import re

# A folder's name may hold blanks ("Documents and Settings"), but no file's ending with a blank after it ("a.png 3/4").
_FOLDER = r"(?:(?!\.\w{2,4}\s)[^\\/\n\t\"'<>|])+[\\/]"


_FOLDERS = re.compile(
    r"(?i)(?<![\w.\\/])(?:"
    rf"file:/*(?:[a-z]:/)?(?:{_FOLDER})*"  # file:///home/jane/, file:///C:/Users/jane/
    rf"|(?:[a-z]:[\\/]|\\\\|~[\\/]|(?:\.\.?[\\/])+)(?:{_FOLDER})*"  # C:\\, \\\\server\\, ~/, ..\\
    rf"|/(?:{_FOLDER})+)"  # /home/jane/
)


_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"


_CLOCK = r"(?:[T ,]*\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[ap]m)?(?:Z|[+-]\d\d:?\d\d)?)?"


_DATES = re.compile(
    r"(?i)(?<![\w.])(?:"
    rf"(?:19|20)\d\d([-/.])\d{{1,2}}\1\d{{1,2}}{_CLOCK}"  # 2014-08-20T07:17:25
    rf"|\d{{1,2}}([-/.])\d{{1,2}}\2(?:19|20)\d\d{_CLOCK}"  # 20.08.2014 07:17
    rf"|(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? +)?{_MONTH} +\d{{1,2}},?{_CLOCK} +(?:19|20)\d\d{_CLOCK}"
    rf"|(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? +)?\d{{1,2}} +{_MONTH} +(?:19|20)\d\d{_CLOCK}"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[T_-]?\d{4,6})?"  # 20140820_071725
    r"|1[4-9]\d{8}(?:\d{3}|\d{6})?(?:\.\d+)?"  # since 1970, from 2014 to 2033: in s, ms or us
    r")(?![\w])"
)


def without_folders(text: str) -> str:
    r"""A message without the folders of its paths; names of files, and plain relative paths (images/b.png), stay.

    >>> without_folders(r"!V IMGLOAD FILL C:\Users\jane\study\a.png"), without_folders("/home/jane/a b.png onset")
    ('!V IMGLOAD FILL a.png', 'a b.png onset')
    >>> without_folders("show file:///home/jane/a.png 3/4"), without_folders(r"x=..\jane\a.png 10/20 images/b.png")
    ('show a.png 3/4', 'x=a.png 10/20 images/b.png')
    """
    return _FOLDERS.sub("", text)


def without_dates(text: str) -> str:
    """A message with [date] for dates, their times, and stamps that count since 1970; other numbers stay.

    >>> without_dates("start 2014-08-20 07:17:25, block 12"), without_dates("t=1408519045.25 trial 20 of 400")
    ('start [date], block 12', 't=[date] trial 20 of 400')
    >>> without_dates("20/08/2014 at 512 384"), without_dates("Wed Aug 20 07:17:25 2014"), without_dates("v1.2.2014.3")
    ('[date] at 512 384', '[date]', 'v1.2.2014.3')
    """
    return _DATES.sub("[date]", text)
