"""Programs that a model wrote, run where they can do no harm, and judged by what they return.

    assertions.py    on the host: which calls a test makes, and what it asks of their values
    conditions.py    on the host: whether the values are what is asked
    values.py        on the host: values from bytes that a hostile program may have written
    bubblewrap.py    finding bwrap, and the command line that shuts a program in
    system_calls.py  the system calls that it may not make
    run.py           on the host: one program, its time limit and its output limit
    inside.py        in the sandbox: runs the program, makes the calls, sends the values
    judge.py         a batch of attempts in parallel, each with a verdict

A program may do whatever it likes to the process that it runs in. All it wins is to choose the
values that are sent, which it could choose by returning them: what they are compared with never
enters the sandbox, and neither an exit code nor a printed word counts.
"""
