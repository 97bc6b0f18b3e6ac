package cluster

import (
	"cmp"
	"strings"
	"time"

	"yatagarasu/gateway/config"
)

// needed are the commands that the gateway sends, or its scripts run, in a form that leaves nothing
// behind.
var needed = [...]struct {
	name   string // of a part of a command: COMMAND|PART
	before []string
	key    func(keys) string // nil: it has none
	after  []string
	when   func(*config.Cluster) bool // nil: always
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
	{"WAIT", []string{"0", "1"}, nil, nil, func(c *config.Cluster) bool { return c.Purge.Replicas > 0 }},
	{"ROLE", nil, nil, nil, func(c *config.Cluster) bool { return c.Valkey.Mode == config.ValkeySentinel }},
	{"CLUSTER|SLOTS", nil, nil, nil, func(c *config.Cluster) bool { return c.Valkey.Mode == config.ValkeyCluster }},
	{"CLUSTER|SHARDS", nil, nil, nil, func(c *config.Cluster) bool { return c.Valkey.Mode == config.ValkeyCluster }},
}

func keyOfLog(k keys) string  { return k.log }
func keyOfMeta(k keys) string { return k.meta }

// acl tries each command that is needed.
func (x *examination) acl() Finding {
	begin := time.Now()
	var commands []string
	allKeys := true
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
			allKeys = false
		default:
			commands = append(commands, n.name)
		}
	}
	user := cmp.Or(x.c.Valkey.Username, "default")
	rules, lacks := "ACL SETUSER "+user, []string{}
	if !allKeys {
		pattern := "~y:{" + x.c.Namespace + "}:*"
		rules, lacks = rules+" "+pattern, append(lacks, "touch the keys "+pattern[1:])
	}
	for _, c := range commands {
		rules, lacks = rules+" +"+strings.ToLower(c), append(lacks, c)
	}
	if len(lacks) > 0 {
		return failed("give it the right, as by "+rules, "user %s may not: %s", user, strings.Join(lacks, ", "))
	}
	return passed(begin, "")
}
