package cluster

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"yatagarasu/gateway/config/shared"
)

// needed are the commands that the gateway sends, or its scripts run, in a form that leaves nothing
// behind.
var needed = [...]struct {
	name   string // of a part of a command: COMMAND|PART
	before []string
	key    func(keys) string // nil: it has none
	after  []string
	when   func(*shared.Cluster) bool // nil: always
}{
	{"PING", nil, nil, nil, nil},
	{"TIME", nil, nil, nil, nil},
	{"INFO", []string{"server"}, nil, nil, nil},
	{"EVAL", []string{"return 1", "1"}, keyOfMeta, nil, nil},
	{"EXISTS", nil, keyOfLog, nil, nil},
	{"XADD", nil, keyOfLog, []string{"NOMKSTREAM", "*", "a", "b"}, nil},
	{"XREAD", []string{"COUNT", "1", "STREAMS"}, keyOfLog, []string{"0-0"}, nil},
	{"XREVRANGE", nil, keyOfLog, []string{"+", "-", "COUNT", "1"}, nil},
	{"HSET", nil, keyOfMeta, []string{"a", "b"}, nil},
	{"HGET", nil, keyOfMeta, []string{"a"}, nil},
	{"HGETALL", nil, keyOfMeta, nil, nil},
	{"HDEL", nil, keyOfMeta, []string{"a"}, nil},
	{"DEL", nil, keyOfMeta, nil, nil},
	{"WAIT", []string{"0", "1"}, nil, nil, func(c *shared.Cluster) bool { return c.Purge.Replicas > 0 }},
	{"ROLE", nil, nil, nil, func(c *shared.Cluster) bool { return c.Valkey.Mode == shared.ValkeySentinel }},
	{"CLUSTER|SLOTS", nil, nil, nil, inCluster},
	{"CLUSTER|SHARDS", nil, nil, nil, inCluster},
	{"GET", nil, keyOfLimit, nil, sharesLimits},
	{"SET", nil, keyOfLimit, []string{"a", "PX", "1"}, sharesLimits},
	{"SET", nil, keyOfObject, []string{"a", "PX", "1"}, sharesObjects},
	{"GETRANGE", nil, keyOfObject, []string{"0", "1"}, sharesObjects},
	{"PTTL", nil, keyOfObject, nil, sharesObjects},
}

func keyOfLog(k keys) string    { return k.log }
func keyOfMeta(k keys) string   { return k.meta }
func keyOfLimit(k keys) string  { return k.limits }
func keyOfObject(k keys) string { return k.objects }

func inCluster(c *shared.Cluster) bool     { return c.Valkey.Mode == shared.ValkeyCluster }
func sharesLimits(c *shared.Cluster) bool  { return c.Limits.Enabled }
func sharesObjects(c *shared.Cluster) bool { return c.Store.Enabled }

// acl tries each command that is needed.
func (x *examination) acl() Finding {
	begin := time.Now()
	var commands, patterns []string
	for _, n := range needed {
		if n.when != nil && !n.when(x.c) {
			continue
		}
		cmd := x.conn.B().Arbitrary(strings.Split(n.name, "|")...).Args(n.before...)
		if n.key != nil {
			cmd = cmd.Keys(n.key(x.own.keys)).Args(n.after...)
		}
		switch err := x.ask(cmd.Build()).Error(); {
		case !isDenied(err):
		case strings.Contains(err.Error(), " key"): // of what the command is about
			pattern, _, _ := strings.Cut(n.key(x.own.keys), ":doctor ")
			patterns = addNew(patterns, strings.TrimSuffix(pattern, ":o")+":*")
		default:
			commands = addNew(commands, n.name)
		}
	}
	user := cmp.Or(x.c.Valkey.Username, "default")
	rules, lacks := "ACL SETUSER "+user, []string{}
	for _, p := range patterns {
		rules, lacks = rules+" ~"+p, append(lacks, "touch the keys "+p)
	}
	for _, c := range commands {
		rules, lacks = rules+" +"+strings.ToLower(c), append(lacks, c)
	}
	if len(lacks) > 0 {
		return failed("give it the right, as by "+rules, "user %s may not: %s", user, strings.Join(lacks, ", "))
	}
	return passed(begin, "")
}

// addNew appends what is not in a list yet.
func addNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
