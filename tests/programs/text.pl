# Perl: hashes, sorting, regular expressions, formats, a fork and a pipe.
use strict;
use warnings;
$| = 1;
my %count;
open my $in, '<', 'words' or die;
while (<$in>) { $count{$_}++ for /([a-z]+)/g }
printf "%-10s %d\n", $_, $count{$_} for sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
srand 42;
print join(' ', map { int rand 1000 } 1 .. 10), "\n";
pipe my $reader, my $writer;
my $pid = fork;
if (!$pid) { close $reader; print $writer "child speaks\n"; close $writer; exit 6 }
close $writer;
print scalar <$reader>;
waitpid $pid, 0;
print "status ", $? >> 8, "\n";
print `echo from a shell`;
local $SIG{ALRM} = sub { die "alarm\n" };
eval { alarm 1; select undef, undef, undef, 60; };
print "caught $@";
open my $out, '>', 'reversed' or die;
seek $in, 0, 0;
print $out reverse <$in>;
