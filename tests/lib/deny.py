"""Checks what `cargo deny` would: every dependency has an allowed licence and comes from the registry.

`deny.py REPO` reads `cargo metadata` of the workspace; no network, no build.
"""

import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "OpenSSL", "Unicode-3.0",
    "Unicode-DFS-2016", "Unlicense", "Zlib",
}  # fmt: skip


class Expression:
    """An SPDX expression: OR over AND over licences and brackets. The old "A/B" means OR."""

    def __init__(self, text):
        text = re.sub(r"\s+WITH\s+", "~", text.replace("/", " OR "))
        self.tokens = re.findall(r"[()]|[^\s()]+", text)

    def allowed(self):
        verdict = self.alternatives()
        return verdict and not self.tokens

    def alternatives(self):
        verdict = self.conjunction()
        while self.tokens[:1] == ["OR"]:
            self.tokens.pop(0)
            verdict = self.conjunction() or verdict
        return verdict

    def conjunction(self):
        verdict = self.licence()
        while self.tokens[:1] == ["AND"]:
            self.tokens.pop(0)
            verdict = self.licence() and verdict
        return verdict

    def licence(self):
        token = self.tokens.pop(0) if self.tokens else ""
        if token != "(":
            return token.replace("~", " WITH ") in ALLOWED
        verdict = self.alternatives()
        return verdict and self.tokens[:1] == [")"] and bool(self.tokens.pop(0))


def metadata(repo):
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    return json.loads(subprocess.run(command, cwd=repo, check=True, capture_output=True).stdout)


def report(name, offenders):
    print(f"FAIL {name}: {', '.join(offenders)}" if offenders else f"ok {name}")
    return bool(offenders)


def main(repo):
    packages = metadata(repo)["packages"]
    foreign = [p for p in packages if p["source"] is not None]
    licences = [
        f"{p['name']} {p['version']} ({p['license'] or p['license_file']})"
        for p in packages
        if not Expression(p["license"] or "").allowed()
    ]
    sources = [p["name"] for p in foreign if not p["source"].startswith("registry+")]
    failed = report(f"licences of {len(packages)} packages are allowed", licences)
    failed |= report(f"{len(foreign)} dependencies come from the registry", sources)
    sys.exit(1 if failed else 0)


main(sys.argv[1])
