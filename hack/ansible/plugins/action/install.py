"""Transfer missing files of the bundle from the controller to the host, then install them."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The part of the module `install` that runs on the controller."""

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Run the module, and transfer the files that it reports as missing."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        bundle = arguments.get("bundle") or {}
        source = bundle.get("source")
        changes = []
        outcome = self._execute_module(module_args=arguments, task_vars=task_vars)
        # If the manifest differs, it is transferred first: the host needs it to determine the missing files.
        while (missing := outcome.get("missing")) and not outcome.get("failed"):
            if not source:
                message = f"the bundle in {bundle['directory']} on this host lacks {', '.join(missing)}"
                return {**result, "failed": True, "changed": False, "msg": message}
            if self._task.check_mode:
                return {**result, "changed": True, "changes": [f"receive {path}" for path in missing]}
            outcome = self._send(Path(source), missing, arguments, task_vars)
            changes += outcome.get("changes", [])
        return {
            **result,
            **outcome,
            "changed": bool(outcome.get("changed") or changes),
            "changes": changes or outcome.get("changes", []),
        }

    def _send(self, source, missing, arguments, task_vars):
        """Transfer files and run the module, which verifies them."""
        self._make_tmp_path()
        received = {}
        for number, path in enumerate(missing):
            received[path] = self._connection._shell.join_path(self._connection._shell.tmpdir, f"bundle-{number}")
            self._connection.put_file(str(source / path), received[path])
        bundle = {**arguments["bundle"], "received": received}
        outcome = self._execute_module(module_args={**arguments, "bundle": bundle}, task_vars=task_vars)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return outcome
