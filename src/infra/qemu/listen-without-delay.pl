# Listens on a TCP port and becomes qemu-nbd, which takes the socket over (sd_listen_fds(3)).
#
# usage: perl listen-without-delay.pl ADDRESS PORT qemu-nbd ARGUMENT...
#
# What qemu-nbd opens itself has Nagle's algorithm on while it negotiates: its many small answers wait for delayed
# acknowledgements, 40 ms for each connection of each client. Accepted sockets inherit TCP_NODELAY from the listening one.
use strict;
use warnings;

# Linux's numbers on x86 and ARM: loading Perl's Socket module for them takes longer than all the rest of a start.
my ($af_inet, $sock_stream, $sol_socket, $so_reuseaddr, $ipproto_tcp, $tcp_nodelay) = (2, 1, 1, 2, 6, 1);

my ($host, $port, @command) = @ARGV;
my ($family, $address);
if ($host =~ /:/) {
  require Socket;
  $family = Socket::AF_INET6();
  $address = Socket::pack_sockaddr_in6($port, Socket::inet_pton($family, $host));
} else {
  $family = $af_inet;
  $address = pack('S n C4 x8', $family, $port, split(/\./, $host));
}

$^F = 3; # descriptors above are closed when this becomes another program
socket(my $listener, $family, $sock_stream, 0) or die "Failed to create socket: $!\n";
die 'the socket has descriptor ' . fileno($listener) . " instead of 3\n" if fileno($listener) != 3;
setsockopt($listener, $sol_socket, $so_reuseaddr, 1) or die "Failed to set SO_REUSEADDR: $!\n";
setsockopt($listener, $ipproto_tcp, $tcp_nodelay, 1) or die "Failed to set TCP_NODELAY: $!\n";
bind($listener, $address) or die "Failed to bind socket: $!\n";
listen($listener, 16) or die "Failed to listen on socket: $!\n";

@ENV{'LISTEN_FDS', 'LISTEN_PID'} = (1, $$);
exec { $command[0] } @command or die "$command[0]: $!\n";
