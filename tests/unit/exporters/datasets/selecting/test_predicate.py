"""The text of a predicate cannot end the parentheses that it is put into."""

from __future__ import annotations

import pytest

from exporters.datasets.errors import DatasetError
from exporters.datasets.selecting import predicate

TREE = """SelectWithUnionQuery (children 2)
 ExpressionList (children 1)
  SelectQuery (children 1)
   ExpressionList (children 1)
    Function identity (children 1)
     ExpressionList (children 1)
      Function and (children 1)
       ExpressionList (children 2)
        Function equals (children 1)
         ExpressionList (children 2)
          Identifier model
          Literal 'x (alias y) (children 2)'
        Function arrayExists (children 1)
         ExpressionList (children 2)
          Function lambda (children 1)
           ExpressionList (children 2)
            Function tuple (children 1)
             ExpressionList (children 1)
              Identifier reason
            Function equals (children 1)
             ExpressionList (children 2)
              Identifier reason
              Identifier outcome
          Identifier tags.keys
 Identifier Native"""


def test_the_columns_are_those_that_the_tree_names() -> None:
    assert predicate.mentioned(TREE) == {"model", "outcome", "tags"}


@pytest.mark.parametrize(
    ("node", "instead"),
    [
        ("Function equals", "Function file"),
        ("Identifier model", "Subquery"),
        ("Identifier model", "Asterisk"),
        ("Identifier model", "TableIdentifier model"),
        ("Identifier model", "Identifier model (alias m)"),
        ("Function arrayExists", "Function in"),
        ("    Function identity", "    Function or"),
        ("      Function and", "      Identifier model\n      Function and"),
        (
            "   ExpressionList (children 1)\n    Function",
            "   ExpressionList (children 1)\n    Identifier x\n    Function",
        ),
        ("SelectWithUnionQuery", "InsertQuery"),
        (" Identifier Native", " Identifier TSV"),
        (" Identifier Native", "  Set"),
        ("  SelectQuery (children 1)", "???"),
    ],
)
def test_anything_else_in_the_tree_is_refused(node: str, instead: str) -> None:
    assert node in TREE
    with pytest.raises(DatasetError):
        predicate.mentioned(TREE.replace(node, instead, 1))


@pytest.mark.parametrize(
    "where",
    [
        *(
            "",
            "  ",
            "a)",
            ")(",
            "(a",
            "[a)",
            "a]",
            "f(a]",
            "'a",
            "a'",
            '"a',
            "`a",
            "'a\\'",
            "'a''",
            '"a\\"b"',
            "`a\nb`",
        ),
        *("a -- b", "a --", "a # b", "a /* b", "a;", "a; b", "$$a$$", "a\x00b", "{a}", "@@a", "a ~ b"),
        *("SELECT 1", "a IN (select 1)", "a SETTINGS b", "a format c", "a UNION b", "a into outfile 'x'"),
    ],
)
def test_a_text_that_could_leave_its_parentheses_is_refused(where: str) -> None:
    with pytest.raises(DatasetError):
        predicate.checked(where)


@pytest.mark.parametrize(
    "where",
    [
        "a = ')'",
        "a = '--'",
        "a = 'it''s ; #'",
        "a = '\\')'",
        '"a -- b" = 1',
        "`)` = 1",
        "f([a, (b)])",
        "a - -1",
        "selected = 1",
    ],
)
def test_what_is_quoted_ends_nothing(where: str) -> None:
    assert predicate.checked(where) == where


def test_a_condition_of_any_length_is_not_read() -> None:
    assert predicate.checked(" 1 = 1 ") == "1 = 1"
    with pytest.raises(DatasetError, match=r"longer than 16,384"):
        predicate.checked("1 + " * 5000 + "1")


def test_what_is_near_to_an_unknown_column_is_named() -> None:
    with pytest.raises(DatasetError, match=r"no_such.* There are: model, user"):
        predicate.check_columns({"no_such"}, {"user", "model"})
    with pytest.raises(DatasetError, match=r"usr\. Did you mean user\?"):
        predicate.check_columns({"usr"}, {"user", "model"})
