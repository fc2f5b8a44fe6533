"""Every error that qbench raises on purpose. Catch QbenchError to catch them all."""


class QbenchError(Exception):
    """A problem the user can fix: what happened, then what to do about it.

    The message has four parts: what the user wrote, where, what was found, and (in `fix`) what to
    write instead, with values that would work.
    """

    def __init__(self, problem: str, *, fix: str) -> None:
        """Keep both halves, so that a page can lay them out apart."""
        super().__init__(f"{problem}\n  fix: {fix}")
        self.problem = problem
        self.fix = fix


class UnknownName(QbenchError):
    """A suite or a command names something that no plug-in registered."""


class BadSuite(QbenchError):
    """A suite or a hardware profile cannot be read as one."""


class BadParameter(QbenchError):
    """A parameter's value is of the wrong type or out of its range."""


class DoesNotFit(QbenchError):
    """A technique cannot be applied to this network, or a chain's formats do not meet."""


class Diverged(QbenchError):
    """A training run left the numbers that a network can hold; it was stopped."""


class BadFile(QbenchError):
    """A file that qbench needs is missing, torn or not what its name says."""


class CannotWrite(QbenchError):
    """A folder or a file that must be written cannot be."""


class OutOfRoom(CannotWrite):
    """The disk filled up while results were being written; what was written before is intact."""


class NotAvailable(QbenchError):
    """An engine or a device that was asked for is not here."""


class NoAnswer(QbenchError):
    """The run ended, and what it was asked cannot be told from it."""
