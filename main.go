// Yatagarasu is a read-only S3 gateway: HTTP clients ask for /prefix/key, and
// it serves the objects of many buckets under its own credentials.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"yatagarasu/gateway"
	"yatagarasu/gateway/flags"
	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/handover"
	"yatagarasu/gateway/inspect"
)

// Set by the linker: the version, the commit it was built from, and that commit's day.
var version, commit, date = "dev", "", ""

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	inherited, inheritErr := handover.Inherit()
	stderr = inherited.Stderr(stderr)
	if len(args) > 0 && args[0] == "token" {
		guardSecrets(stderr)
		return inspect.Token(args[1:], stdout, stderr)
	}
	o := gateway.NewOptions()
	o.Version = version
	o.Inherited = inherited
	fs := flag.NewFlagSet("yatagarasu", flag.ContinueOnError)
	fs.SetOutput(stderr)
	groups := o.RegisterFlags(fs)
	check := fs.Bool("check", false, "Validate the configuration file as start-up would, print every problem with its place, and exit: 0 if it is valid, 1 if not")
	explain := fs.String("explain", "", "Print which route, bucket, object key and upstream address a GET of this `URL` would get, or why it would be refused, and exit: 0 if it would reach the origin, 1 if not, or if that hangs on a signature that only a key of a jwks_url or issuer_url could bear out, or on an issuer that is not asked. Sends nothing, but with -token")
	token := fs.String("token", "", "With -explain: the `token` that the client would present. Says which source, key, claim or rule lets it in or refuses it. Where jwt.introspection has the issuer asked about tokens, it is asked about this one: the token is sent there, and keys are fetched; nothing else is sent")
	doctor := fs.Bool("doctor", false, "Look at everything between here and the objects of each bucket: names, connections, certificates, credentials, clocks, the bucket and one of its objects; at the issuers of tokens that jwt blocks name by a URL; and at what gateways share, where cluster is set. Print a table and what to do about each failure, and exit: 0 if all is well, 1 if not")
	key := fs.String("key", "", "With -doctor: the `key` of the object to read. Set it where the credential may not list; the default is one that the bucket lists")
	var probe inspect.ProbeFlag
	fs.Var(&probe, "probe", "Ask the gateway that runs here, with this file and these flags, for /health, and exit: 0 if it is well, 1 if not. -probe=ready asks for /ready. For health checks of containers, and scripts")
	showVersion := fs.Bool("version", false, "Print the version, its commit and what it was built with, and exit")
	groups[0].Names = append(groups[0].Names, "check", "explain", "token", "doctor", "key", "probe", "version")
	if code, ok := flags.Parse(fs, args, usage, groups); !ok {
		return code
	}
	switch {
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "yatagarasu: unexpected argument %q; flags begin with a dash, see -help\n", fs.Arg(0))
		return 2
	case *showVersion:
		printVersion(stdout)
		return 0
	case o.ConfigPath == "":
		fmt.Fprintln(stderr, "yatagarasu: -config is required: yatagarasu -config config.yaml; see config.example.yaml and -help")
		return 2
	case *token != "" && *explain == "":
		fmt.Fprintln(stderr, "yatagarasu: -token goes with -explain URL; to mint a token: yatagarasu token -help")
		return 2
	case *key != "" && !*doctor:
		fmt.Fprintln(stderr, "yatagarasu: -key goes with -doctor")
		return 2
	case probe != "" && (*check || *doctor || *explain != ""):
		fmt.Fprintln(stderr, "yatagarasu: -probe goes alone")
		return 2
	}
	inspects := probe != "" || *check || *doctor || *explain != ""
	if !inspects && inheritErr == nil && !inherited.Any() {
		if err := allowSlack(o.TimerSlack); err != nil {
			fmt.Fprintln(stderr, "yatagarasu: -timer-slack cannot be had, which takes some CPU time; with 0 it is not tried:", err)
		}
	}
	if !o.CoreDumps {
		guardSecrets(stderr)
	}
	if probe != "" {
		return inspect.Probe(o.ConfigPath, o.Address, probe, stdout, stderr)
	}
	switch {
	case *explain != "", *doctor, *check:
		gen, err := gateway.Inspect(o)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		defer generation.Close(gen)
		switch {
		case *explain != "":
			if !inspect.Explain(gen, stdout, *explain, *token) {
				return 1
			}
		case *doctor:
			return inspect.Doctor(gen, *key, stdout, stderr)
		default:
			inspect.Check(gen, o.ConfigPath, stdout)
		}
		return 0
	}
	// Handle signals from here on: by default they end the process.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, gateway.Signals()...)
	signal.Ignore(syscall.SIGPIPE) // of a log whose reader has ended
	g, err := gateway.New(o)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if o.Program, err = handover.Program(); err != nil || inheritErr != nil {
		fmt.Fprintln(stderr, "yatagarasu:", errors.Join(inheritErr, err))
		return 1
	}
	if err := g.Run(signals); err != nil {
		fmt.Fprintln(stderr, "yatagarasu:", err)
		return 1
	}
	return 0
}

// guardSecrets keeps the memory of the process to itself. It comes before any secret is read.
func guardSecrets(stderr io.Writer) {
	if err := keepMemory(); err != nil {
		fmt.Fprintln(stderr, "yatagarasu: the process's memory is not kept out of core dumps:", err)
	}
}

// printVersion prints a line such as "yatagarasu v1.2.3 (commit 0123abc of 2026-01-02, go1.26.0
// linux/amd64)".
func printVersion(w io.Writer) {
	from := ""
	if commit != "" {
		from = "commit " + commit + " of " + date + ", "
	}
	fmt.Fprintf(w, "yatagarasu %s (%s%s %s/%s)\n", version, from, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

const usage = `Yatagarasu serves the objects of S3 buckets over HTTP, read-only.

  yatagarasu -config config.yaml            serve
  yatagarasu -config config.yaml -check     validate the file and exit
  yatagarasu -config config.yaml -explain http://localhost:8080/assets/logo.png
  yatagarasu -config config.yaml -doctor    say what is wrong with the origins
  yatagarasu -config config.yaml -probe     ask the running gateway how it is
  yatagarasu token -config config.yaml -bucket private -claim role=admin
                                            mint a token for trying a bucket

The file says what is served; flags tune the process and win over the file.
SIGTERM and SIGINT stop, SIGHUP reloads the file, SIGUSR1 opens log files again,
SIGUSR2 hands over to a new process of the program without losing a request.
`
