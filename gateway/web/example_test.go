package web_test

import (
	"fmt"
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/web"
)

func Example() {
	c := &site.Site{
		CORS:    site.CORS{Origins: []string{"https://app.example.com"}},
		Headers: []site.HeaderRule{{Match: site.HeaderMatch{Path: "/assets/*"}, Set: file.Pairs{{Name: "Cache-Control", Value: "immutable"}}, When: "success"}},
	}
	site := web.New(c, "/", func(name []byte) bool { return string(name) == "Cache-Control" })
	rules := site.Headers.Match([]byte("assets/app.js"), []byte("text/javascript"), true)
	head := site.Headers.Append([]byte("Cache-Control: no-cache\r\nETag: \"1\"\r\n"), rules, false, false)
	head = site.CORS.AppendLines(head, []byte("https://app.example.com"))
	fmt.Print(strings.ReplaceAll(string(head), "\r\n", "\n"))
	// Output:
	// ETag: "1"
	// Cache-Control: immutable
	// Vary: Origin
	// Access-Control-Allow-Origin: https://app.example.com
}
