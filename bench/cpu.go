package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTimes is the processor time that each of those who share the machine has used.
type cpuTimes struct {
	server   time.Duration // kontor serve, all nodes of it, or the peer
	postgres time.Duration // the postmaster and all its children
	client   time.Duration // this process
	provider time.Duration // the sandbox, or the mock API
	others   time.Duration // everybody else, the kernel and what the hypervisor took included
	machine  time.Duration // what there was: elapsed time times processors
}

// cpuWatch reads processor times from a moment on. Where there is no /proc it reads zeros, but for the client's.
type cpuWatch struct {
	postmaster, provider int
	servers              []int
	before               cpuTimes
}

// watch begins now; a pid of 0 is nobody.
func (b *bench) watch(server, provider int) cpuWatch { return b.watchAll(provider, server) }

// watchAll is watch for several servers, which are counted together.
func (b *bench) watchAll(provider int, servers ...int) cpuWatch {
	w := cpuWatch{postmaster: postmasterPID(filepath.Join(b.dir, "postgres", "data")), servers: servers, provider: provider}
	w.before = w.now()
	return w
}

func (w cpuWatch) now() cpuTimes {
	var server time.Duration
	for _, pid := range w.servers {
		server += processCPU(pid)
	}
	return cpuTimes{
		server: server, postgres: treeCPU(w.postmaster), client: selfCPU(), provider: processCPU(w.provider),
		others: busyCPU(), machine: machineCPU(),
	}
}

// read is what was used since the watch began.
func (w cpuWatch) read() cpuTimes {
	now, before := w.now(), w.before
	out := cpuTimes{
		server: now.server - before.server, postgres: now.postgres - before.postgres, client: now.client - before.client,
		provider: now.provider - before.provider, machine: now.machine - before.machine,
	}
	out.others = max(now.others-before.others-out.server-out.postgres-out.client-out.provider, 0)
	return out
}

// tick is the unit of /proc, USER_HZ: 100 on every Linux there is.
const tick = 10 * time.Millisecond

// selfCPU is the processor time of this process.
func selfCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// stat is the part of /proc/<pid>/stat that counts here.
type stat struct {
	parent        int
	own, children time.Duration // children: those that have ended
}

func readStat(pid int) (stat, bool) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, false
	}
	// The name, in parentheses, may hold anything; what follows the last parenthesis begins with field 3.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 15 {
		return stat{}, false
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return n
	}
	return stat{
		parent: int(number(4)), own: time.Duration(number(14)+number(15)) * tick,
		children: time.Duration(number(16)+number(17)) * tick,
	}, true
}

func processCPU(pid int) time.Duration {
	if pid == 0 {
		return 0
	}
	s, _ := readStat(pid)
	return s.own
}

// treeCPU is the processor time of a process and of all its children, those that have ended included.
func treeCPU(parent int) time.Duration {
	s, ok := readStat(parent)
	if parent == 0 || !ok {
		return 0
	}
	sum := s.own + s.children
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range list {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if child, ok := readStat(pid); ok && child.parent == parent {
			sum += child.own + child.children
		}
	}
	return sum
}

// procStat are the columns of the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
func procStat() []time.Duration {
	raw, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(raw), "\n")
	var out []time.Duration
	for i, field := range strings.Fields(line) {
		if n, err := strconv.ParseInt(field, 10, 64); err == nil && i >= 1 && i <= 8 {
			out = append(out, time.Duration(n)*tick)
		}
	}
	return out
}

func busyCPU() time.Duration {
	var sum time.Duration
	for i, d := range procStat() {
		if i != 3 && i != 4 {
			sum += d
		}
	}
	return sum
}

func machineCPU() time.Duration {
	var sum time.Duration
	for _, d := range procStat() {
		sum += d
	}
	return sum
}

// postmasterPID reads the server's pid file; 0 when there is none.
func postmasterPID(dataDir string) int {
	raw, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}

// peakMemory is the most memory that a process has had resident, in bytes; 0 when it is not known.
func peakMemory(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}
