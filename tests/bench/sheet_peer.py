"""Makes a workbook of a CSV file, as a user would who has DuckDB and Python.

usage: sheet_peer.py xlsxwriter|openpyxl CSV XLSX

Both in the mode that keeps no rows in memory. Numbers become numbers; that times stay text is in their favour.
"""

import csv
import sys


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


def rows(path):
    csv.field_size_limit(1 << 30)
    with open(path, newline="", encoding="utf-8") as stream:
        for row in csv.reader(stream):
            # As in ours: only the columns of numbers are numbers.
            yield row[:1] + [number(cell) for cell in row[1:5]] + row[5:]


def write_xlsxwriter(source, target):
    import xlsxwriter

    book = xlsxwriter.Workbook(target, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet("Profiles")
    for number_of_row, row in enumerate(rows(source)):
        sheet.write_row(number_of_row, 0, row)
    book.close()


def write_openpyxl(source, target):
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Profiles")
    for row in rows(source):
        sheet.append(row)
    book.save(target)


if __name__ == "__main__":
    {"xlsxwriter": write_xlsxwriter, "openpyxl": write_openpyxl}[sys.argv[1]](sys.argv[2], sys.argv[3])
