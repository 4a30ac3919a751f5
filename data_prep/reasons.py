"""Why a row is refused, what is repaired, and what is merely noted: every name that a manifest may hold."""

from __future__ import annotations

REFUSALS = {
    "broken_record": "the record cannot be read: no JSON object, wrong encoding, or too large",
    "missing_record": "the problem has no data.json",
    "missing_field": "a field that the conversion needs is absent or of the wrong type",
    "empty_text": "the problem has no text",
    "empty_answer": "the right answer is an empty text",
    "letter_without_choice": "the answer's letter names none of the choices",
    "two_answers": "the answer field names more than one choice",
    "answer_not_a_choice": "the answer is none of the choices",
    "too_few_choices": "fewer than two different choices are left",
    "placeholder_mismatch": "the text has another number of <image> placeholders than there are images",
    "bad_id": "the problem id is not a short name of letters, digits, dots and dashes",
    "duplicate_id": "another row of the source has the same problem id",
    "missing_image": "there is no image file, or no bytes in it",
    "image_outside_source": "the image's path leads out of the source folder",
    "image_unknown_format": "the image is neither PNG nor JPEG",
    "image_truncated": "the image file ends before its data do",
    "image_broken": "the image's data cannot be decoded",
    "image_absurd_size": "a side is too short, the picture is too long and thin, or it has too many pixels or bytes",
    "answer_not_understood": "the answer is not in the arithmetic notation of its source",
    "gold_not_graded_right": "the verifier does not grade the gold answer, in a box, as right",
    "wrong_choice_graded_right": "the verifier grades a wrong choice as right",
    "zip_outside_path": "the entry's path leads out of the archive's folder",
    "zip_absolute_path": "the entry's path is absolute",
    "zip_symlink": "the entry is a symbolic link or a special file",
    "zip_absurd_size": "the entry claims more bytes than any file of such a data set has",
    "zip_absurd_ratio": "the entry claims to be compressed more than any file of such a data set can be",
    "zip_encrypted": "the entry is encrypted",
    "zip_unsupported_method": "the entry's compression method is neither stored nor deflated",
    "zip_duplicate_entry": "two entries of the archive have the same path",
    "zip_unreadable": "the entry's data do not match its header or checksum",
}

REPAIRS = {
    "line_ends": "carriage returns became line ends",
    "lost_backslash": "a control character was a LaTeX backslash eaten by JSON (form feed + 'rac' is \\frac)",
    "control_characters": "control and invisible characters were removed",
    "placeholder_in_text": "a literal <image> in the problem's text was removed",
    "placeholder_added": "the text had no <image> placeholder; one per image was put before it",
    "text_from_problem_text": "the annotated text was empty; the plain problem text was taken",
    "letter_spelling": "the answer's letter had another case, brackets or spaces around it",
    "duplicated_choices": "a choice stood twice; the later one was dropped and the letter follows",
    "empty_choice": "an empty wrong choice was dropped and the letter follows",
    "choice_not_text": "a choice was a number, not a text",
    "precise_value_text": "precise_value held texts; those that are numbers were read, others became null",
    "precise_value_unusable": "precise_value is not a list with one value per choice; it was dropped",
    "missing_id": "the record has no id; the name of its folder was taken",
    "id_not_plain": "the record has no id that is a short plain name; the number of the row was taken",
    "extra_image_tags": "the text names several pictures where one file holds them all; the first place was kept",
    "id_differs_from_folder": "the record's id is not the name of its folder; the record's was kept",
}

NOTES = {
    "no_picture": "the columns that the mapping names for pictures are empty; the problem is of text only",
    "question_in_picture": "the text has no question, since the picture holds it; the text says so",
    "precise_value_differs": "precise_value of the right choice differs from the value of its text by more than 0.5 %; "
    "the text is the gold",
}
