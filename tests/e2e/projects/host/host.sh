# what a step sees that must not depend on who runs it, or how
part() { echo "== $*"; }
part environment, in its order
env
tr '\0' '\n' </proc/self/environ
part user, groups, folders, umask
id
echo ~
pwd -P
umask
cat /proc/self/setgroups
part names, zone, language
hostname
date +%Z
locale
cat /etc/hostname /etc/machine-id 2>/dev/null || echo none
part processes: parent, group, session, terminal
cut -d' ' -f4-7 /proc/$$/stat
tty || true
nice
part signals, privileges
grep -E '^(Sig(Blk|Ign|Cgt)|ShdPnd|Cap|NoNewPrivs|Seccomp|Speculation)' /proc/self/status | grep -v '^Speculation\|_filters'
part limits
# -i and -u follow the memory that the kernel manages
bash -c 'ulimit -aS; ulimit -aH' | grep -v 'pending signals\|max user processes'
part CPUs
echo "cpus $(nproc) $(nproc --all) $(python3 -c 'import os; print(os.cpu_count())')"
find /sys | sort
part descriptors
for fd in 0 1 2; do stat -L -c '%F %t,%T' /proc/self/fd/$fd; done
ls /proc/self/fd | wc -l
part files of the source: mode, user, size, time
stat -c '%n %A %u:%g %s %h %Y' . host.sh names names/* .assay.yml
part order of folders
ls -U names
ls -U .
ls -U /usr/lib | head -n 60
ls -U /usr/bin | cksum
for d in /src/new /tmp/new /home/build/new /out/new /dev/shm/new; do
    mkdir "$d"
    for n in 5 3 9 1 b a Z 0; do : >"$d/$n"; done
    rm "$d/3"
    : >"$d/3"
    echo $(ls -U "$d")
    stat -c '%s %b %h' "$d"
    rm -r "$d"
done
part file systems: type, size, what may be written, what may be run
for d in / /src /tmp /home/build /in /out /dev/shm; do
    stat -f -c '%n %T %S %l' "$d"
    (: >"$d/new" && echo "$d may be written" && cp /bin/true "$d/new" && "$d/new" && echo "$d may be run from" && rm "$d/new") 2>/dev/null
done
for d in /etc /usr /var /var/tmp /run /root /opt /sys /dev; do (: >"$d/new" && rm "$d/new" && echo "$d may be written") 2>/dev/null; done
df --output=size / /src /dev/shm
stat -c '%n %A %u:%g' / /src /in /out /tmp /home /home/build /dev /proc /sys /etc /root /dev/null /dev/urandom
ls /dev | sort
part addresses
cat /proc/sys/kernel/randomize_va_space
part network
cat /proc/net/dev | sed 's/:.*//'
for f in AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET; do
    python3 -c "import socket; socket.socket(socket.$f, socket.SOCK_RAW if '$f' in ('AF_NETLINK', 'AF_PACKET') else socket.SOCK_STREAM)" 2>/dev/null && echo "$f" || echo "no $f"
done
exit 0
