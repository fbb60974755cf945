"""What is read of an error."""

from ..runner import Change, Entry

ENTRIES = (
    Entry(
        "any built-in error is read where it was raised",
        (
            Change(
                "cronguard/privacy/capture.py",
                "        if type(each) not in _BUILT_IN or len(each.args) > _MOST_ARGUMENTS:",
                '        if type(each).__module__ == "builtins":\n            return True\n'
                "        if type(each) not in _BUILT_IN or len(each.args) > _MOST_ARGUMENTS:",
            ),
        ),
        ("tests/privacy/test_capture.py::test_other_errors_get_their_time_in_a_thread",),
    ),
    Entry(
        "what a module's constant got when the program ran counts as written",
        (
            Change(
                "cronguard/privacy/code_text.py",
                "for text in texts[:_MOST_INNER] if _stands_in(text, source))",
                "for text in texts[:_MOST_INNER])",
            ),
        ),
        ("tests/privacy/test_redaction.py::test_a_constant_counts_if_the_module_has_it",),
    ),
    Entry(
        "a piece of one sentence vouches for a word of another",
        (
            Change(
                "cronguard/privacy/message.py",
                "for piece, rest in self._known.code.fragments if rest and rest in text",
                "for piece, rest in self._known.code.fragments",
            ),
        ),
        ("tests/privacy/test_redaction.py::test_a_piece_of_another_sentence_vouches_for_nothing",),
    ),
    Entry(
        "a word that stands alone is a word like any other",
        (
            Change(
                "cronguard/privacy/words.py",
                "return before[-1:] in _BEFORE_VALUE and after[:1] in _AFTER_VALUE",
                "return False",
            ),
        ),
        ("tests/privacy/test_redaction.py::test_a_word_alone_between_signs_is_a_value",),
    ),
    Entry(
        "a path or an address that stands in the code is a value",
        (Change("cronguard/privacy/message.py", "        self._find_places()\n", ""),),
        ("tests/privacy/test_redaction.py::test_hosts_and_paths_of_the_code_are_shown",),
    ),
    Entry(
        "what looks like a path is shown whatever is in it",
        (Change("cronguard/privacy/patterns.py", " and not any(always_masked(literal))", ""),),
        ("tests/privacy/test_redaction.py::test_hosts_and_paths_of_the_code_are_shown",),
    ),
    Entry(
        "a number is shown beside whatever word",
        (
            Change(
                "cronguard/privacy/words.py",
                "if after and after.group(1) in self._vocabulary.units and",
                "if after and",
            ),
        ),
        ("tests/privacy/test_redaction.py::test_a_larger_number_is_shown_beside_what_it_counts",),
    ),
    Entry(
        "no number in a job's own sentence is shown",
        (Change("cronguard/privacy/words.py", "[0-9]{1,3}|[0-9]\\.[0-9]{1,2}", "[0-9]{0}"),),
        ("tests/privacy/test_redaction_corpus.py::test_facts_in_a_jobs_own_sentences_are_kept",),
    ),
    Entry(
        "an everyday word of a quoted remark is shown",
        (Change("cronguard/privacy/words.py", "_REMARK = 4 ", "_REMARK = 0 "),),
        ("tests/privacy/test_redaction_corpus.py::test_remarks_are_masked",),
    ),
    Entry(
        "one known word makes a code of a user's name",
        (
            Change(
                "cronguard/privacy/message.py",
                "if words is None or self._known.vocabulary.knows_name(words.lower()):",
                "if True:",
            ),
        ),
        ("tests/privacy/test_redaction_corpus.py::test_facts_in_a_jobs_own_sentences_are_kept",),
    ),
    Entry(
        "of a secret in quotes the first word alone is masked",
        (Change("cronguard/privacy/patterns.py", "|'[^'\\n]+'|", "|"),),
        ("tests/privacy/test_redaction.py::test_a_labelled_secret_is_masked_whole",),
    ),
    Entry(
        "a database vouches for no name in a text alone",
        (Change("cronguard/privacy/redaction.py", "frozenset(names_in(text))", "frozenset()"),),
        ("tests/privacy/test_redaction.py::test_a_violated_constraint_is_named_in_a_text_alone",),
    ),
    Entry(
        "an address that does not split is opened",
        (
            Change(
                "cronguard/settings/store_url.py",
                '== "postgres" and not _splits(rest)',
                '== "postgres" and not rest',
            ),
        ),
        ("tests/settings/test_store_url.py::test_an_address_that_does_not_split_is_refused",),
    ),
    Entry(
        "a secret behind a reference is the reference's name",
        (
            Change(
                "cronguard/settings/types.py",
                "        or may_be_secret(name)  # pasted where its name belongs\n",
                "",
            ),
        ),
        ("tests/settings/test_secrets.py::test_what_is_a_reference",),
    ),
    Entry(
        "rows of others reach the terminal as they are",
        (
            Change(
                "cronguard/cli/output/lines.py",
                "click.echo(inert(line), nl=nl)",
                "click.echo(line, nl=nl)",
            ),
        ),
        ("tests/cli/test_cli_alerts.py::test_rows_of_strangers_do_nothing_to_a_terminal",),
    ),
)
