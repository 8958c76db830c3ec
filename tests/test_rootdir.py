from __future__ import annotations


def test_an_option_that_moves_the_rootdir_is_named_and_one_word_does_not(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    grader = elsewhere / "check.py"
    grader.write_text("def grade(output):\n    return {'pass': True}\n")
    project.write_tasks("hi")
    moved = project.pytest("--collect-only", "--agent", "loop", "--grader", str(grader))
    moved.stdout.fnmatch_lines([f"agentcap: rootdir is * because of --grader {grader}: write --grader={grader}, or *"])
    for words in ([f"--grader={grader}"], ["--grader", str(grader), "--rootdir", "."]):
        kept = project.pytest("--collect-only", "--agent", "loop", *words)
        kept.stdout.fnmatch_lines([f"rootdir: {project.path}"])
        kept.stdout.no_fnmatch_line("*because of*")
