"""`portal`, also as `python -m portal`: the commands of the features, and those that run processes."""

from portal.cli import main
from portal.demo.cli import demo, demo_mailbox

for command in (demo, demo_mailbox):
    main.add_command(command)

if __name__ == "__main__":
    main()
