"""The one line that says why a program failed, found in what uv, pip and Python print."""

from __future__ import annotations

from deployer.agent.model.failure import cause_of, telling, unbuilt, unfitting

MIGRATION = """Operations to perform:
Traceback (most recent call last):
  File "/srv/shop/manage.py", line 22, in <module>
    main()
sqlite3.OperationalError: unable to open database file

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/shop/manage.py", line 30, in main
    raise DatabaseError
django.db.utils.OperationalError: unable to open database file
bye
"""
UV_BUILD = """Resolved 1 package in 3ms
  × Failed to build `psycopg2==2.9.9`
  ├─▶ The build backend returned an error
  ╰─▶ Call to `setuptools.build_meta:__legacy__.build_wheel` failed (exit status: 1)

      [stderr]
      /tmp/setuptools/dist.py:759: SetuptoolsDeprecationWarning: License classifiers are deprecated.
      !!

              ********************************************************************************
              Please consider removing the following classifiers in favor of a SPDX license expression:
              License :: OSI Approved :: GNU Library or Lesser General Public License (LGPL)
              ********************************************************************************

      !!
      Error: pg_config executable not found.

      pg_config is required to build psycopg2 from source.
"""
PIP_BUILD = """  error: subprocess-exited-with-error
      error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory
  ERROR: Failed building wheel for ujson
ERROR: Could not build wheels for ujson, which is required to install pyproject.toml-based projects
"""
UV_RESOLVE = """  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of flask==99 and you require flask==99, we
      can conclude that your requirements are unsatisfiable.
"""
PIP_RESOLVE = "ERROR: No matching distribution found for flask==99\n"


def test_the_last_exception_is_the_headline() -> None:
    expected = "django.db.utils.OperationalError: unable to open database file (exit status 1)"
    assert cause_of(MIGRATION.splitlines(), "exit status 1") == expected
    assert cause_of(["no traceback", "OperationalError: said in passing"], "exit status 3") == "exit status 3"
    assert cause_of(["Traceback (most recent call last):", "  File 'a'", "KeyError: 'A'"], "x") == "KeyError: 'A' (x)"


def test_the_package_the_cause_and_what_the_build_needs() -> None:
    package, cause, needs = unbuilt(UV_BUILD.splitlines())
    assert (package, cause) == ("psycopg2==2.9.9", "Error: pg_config executable not found.")
    assert "libpq-dev" in needs
    package, cause, needs = unbuilt(PIP_BUILD.splitlines())
    assert package == "ujson" and "gcc" in cause and needs == "build-essential, python3-dev"
    assert unbuilt(["could not reach the index"]) == ("", "", "")


def test_framed_warnings_are_left_out() -> None:
    kept = telling(UV_BUILD.splitlines())
    assert not [line for line in kept if "icense" in line or "***" in line or line.strip() == "!!"]
    assert "      Error: pg_config executable not found." in kept


def test_versions_that_do_not_fit_are_told_in_the_resolvers_words() -> None:
    assert unfitting(UV_RESOLVE.splitlines()) == (
        "Because there is no version of flask==99 and you require flask==99, we "
        "can conclude that your requirements are unsatisfiable."
    )
    assert unfitting(PIP_RESOLVE.splitlines()) == "No matching distribution found for flask==99"
    assert unfitting(UV_BUILD.splitlines()) == ""
    assert unfitting(["WARNING: Retrying (Retry(total=0)) after connection broken", *PIP_RESOLVE.splitlines()]) == ""
