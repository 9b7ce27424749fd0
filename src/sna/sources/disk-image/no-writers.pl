# Exits with 0 when no process has any of the files open for writing, by descriptor or by memory map.
#
# usage: perl no-writers.pl FILE...
#
# The kernel grants a read lease (fcntl(2), F_SETLEASE) only then, and only to the owner and to root. The lease ends
# with this process, at once. Whoever opens the file in that instant waits for it and then goes on.
use strict;
use warnings;

my ($f_setlease, $f_rdlck) = (1024, 0);

$SIG{IO} = sub { exit 1 };
for my $path (@ARGV) {
  open(my $file, '<:raw', $path) or exit 1;
  fcntl($file, $f_setlease, $f_rdlck) or exit 1;
}
exit 0;
