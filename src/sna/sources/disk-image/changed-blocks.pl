# Compares two files block by block and prints "<offset> <length>" for each block in which they differ.
#
# usage: perl changed-blocks.pl FILE REFERENCE BLOCKSIZE
#
# Holes that both files have are not read: reading them would fill the page cache with as many zero pages as the disk
# is large. It is Perl because disks' bytes do not pass through JavaScript, no packaged program lists differing blocks,
# and perl-base is essential on Debian and Ubuntu. Only core functions: perl-base has few modules.
use strict;
use warnings;

my ($path, $reference, $block) = @ARGV;
my $chunk = 16 * $block;
my $enxio = 6;

sub open_file {
  my ($name) = @_;
  open(my $file, '<:raw', $name) or die "cannot open $name: $!\n";
  return $file;
}

# Ranges of a file that hold data, as whole chunks. lseek(2): whence 3 is SEEK_DATA, 4 is SEEK_HOLE.
sub data_chunks {
  my ($file, $size, $found) = @_;
  my $at = 0;
  while ($at < $size) {
    my $data = sysseek($file, $at, 3);
    last if !defined($data) && $!{ENXIO};    # only holes from here on
    $data = $at if !defined($data);          # a filesystem without holes: all is data
    my $hole = sysseek($file, $data, 4);
    $hole = $size if !defined($hole);
    for (my $start = $data - $data % $chunk; $start < $hole; $start += $chunk) { $found->{$start} = 1 }
    $at = $hole > $at ? $hole : $size;
  }
}

# Into a buffer that is used again: fresh memory for every chunk costs more than the comparison.
sub read_at {
  my ($file, $at, $buffer, $name) = @_;
  defined(sysseek($file, $at, 0)) or die "cannot seek in $name: $!\n";
  my $length = 0;
  while ($length < $chunk) {
    my $got = sysread($file, $$buffer, $chunk - $length, $length);
    defined($got) or die "cannot read $name: $!\n";
    last if $got == 0;
    $length += $got;
  }
  # Beyond the end a disk reads as zeroes.
  substr($$buffer, $length) = "\0" x ($chunk - $length) if $length < $chunk;
}

my ($file, $other) = (open_file($path), open_file($reference));
my %chunks;
data_chunks($file, -s $file, \%chunks);
data_chunks($other, -s $other, \%chunks);
my $size = -s $other;
my ($new, $old) = ('', '');

for my $at (sort { $a <=> $b } keys %chunks) {
  read_at($file, $at, \$new, $path);
  read_at($other, $at, \$old, $reference);
  next if $new eq $old;
  for (my $in = 0; $in < $chunk && $at + $in < $size; $in += $block) {
    next if substr($new, $in, $block) eq substr($old, $in, $block);
    my $length = $at + $in + $block > $size ? $size - $at - $in : $block;
    printf "%d %d\n", $at + $in, $length;
  }
}
