package inspect

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/flags"
)

// tokenUsage is the help of the token command, before its flags.
const tokenUsage = `Mints a token for trying a private bucket whose key is a secret (HS256, HS384,
HS512). The token alone goes to standard output, notes to standard error.

  yatagarasu token -config config.yaml -bucket private -claim role=admin -exp 1h

A claim's value is JSON if it parses as JSON (3, true, ["a"]), else a string.
`

// Token runs "yatagarasu token" with args, which follow the word token. It
// returns an exit code: 0 with a token, 1 if none can be minted, 2 for wrong
// arguments.
func Token(args []string, stdout, stderr io.Writer) int {
	claims := make(map[string]json.RawMessage)
	fs := flag.NewFlagSet("token", flag.ContinueOnError)
	fs.SetOutput(stderr)
	path := fs.String("config", "", "Path of the configuration `file` whose secret signs. Required")
	bucket := fs.String("bucket", "", "`Name` of the bucket to read. May be left out if one bucket alone is private")
	fs.Func("claim", "A claim as `name=value`; may be repeated. sub is \"dev\" unless given, iss and aud are what the configuration wants", func(s string) error { return addClaim(claims, s) })
	lifetime := fs.Duration("exp", time.Hour, "How long the token is valid from now. Negative: it has expired")
	if code, ok := flags.Parse(fs, args, tokenUsage, []flags.Group{{Title: "Flags", Names: []string{"config", "bucket", "claim", "exp"}}}); !ok {
		return code
	}
	switch {
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "yatagarasu token: unexpected argument %q; claims are given as -claim name=value\n", fs.Arg(0))
		return 2
	case *path == "":
		fmt.Fprintln(stderr, "yatagarasu token: -config is required: yatagarasu token -config config.yaml -bucket NAME")
		return 2
	}
	c, err := config.Load(*path, os.LookupEnv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	token, notes, err := mint(c, *bucket, claims, *lifetime)
	if err != nil {
		fmt.Fprintln(stderr, "yatagarasu token:", err)
		return 1
	}
	for _, note := range notes {
		fmt.Fprintln(stderr, "note:", note)
	}
	fmt.Fprintln(stdout, token)
	return 0
}

// mint returns a token for the bucket called name, and notes for whoever tries it.
func mint(c *config.Config, name string, claims map[string]json.RawMessage, lifetime time.Duration) (token string, notes []string, err error) {
	b, err := privateBucket(c, name)
	if err != nil {
		return "", nil, err
	}
	v, err := auth.NewVerifier(b.Auth.JWT, auth.Options{})
	if err != nil {
		return "", nil, err
	}
	return auth.NewPolicy(&b.Auth, b.Name, v, auth.NewTokenCache(0, 0), nil).Mint(claims, time.Now(), lifetime)
}

// privateBucket returns the bucket of this name, or the only private one.
func privateBucket(c *config.Config, name string) (*config.Bucket, error) {
	var named *config.Bucket
	var private []string
	for i := range c.Buckets {
		b := &c.Buckets[i]
		if b.Auth.Enabled {
			private = append(private, b.Name)
		}
		if b.Name == name || name == "" && b.Auth.Enabled {
			named = b
		}
	}
	choice := "the private buckets are " + strings.Join(private, ", ")
	switch {
	case len(private) == 0:
		return nil, errors.New("no bucket of the file is private; none needs a token")
	case name == "" && len(private) > 1:
		return nil, errors.New("-bucket is required: " + choice)
	case named == nil:
		return nil, fmt.Errorf("there is no bucket %q; %s", name, choice)
	case !named.Auth.Enabled:
		return nil, fmt.Errorf("the bucket %q is public; %s", name, choice)
	}
	return named, nil
}

// addClaim adds the claim that a flag has as name=value.
func addClaim(claims map[string]json.RawMessage, s string) error {
	name, value, ok := strings.Cut(s, "=")
	switch {
	case !ok || name == "":
		return errors.New("write name=value, such as role=admin")
	case claims[name] != nil:
		return fmt.Errorf("the claim %q is given twice", name)
	case name == "exp" || name == "iat":
		return fmt.Errorf("%q is set by -exp", name)
	case json.Valid([]byte(value)):
		claims[name] = json.RawMessage(value)
		return nil
	}
	text, err := json.Marshal(value)
	claims[name] = text
	return err
}
