package site_test

import (
	"fmt"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/site"
)

func Example() {
	for _, text := range []string{
		"{ index: index.html, redirects: [{ from: /old/*, to: /new/* }] }",
		"{ redirects: [{ from: /docs/*, to: /docs/new/* }], trailing_slash: serve }",
	} {
		d, root, err := file.Open("website", []byte(text), nil, site.Grammar)
		if err != nil {
			fmt.Println(err)
			return
		}
		var w site.Website
		d.Fill(root, "buckets[].website", &w)
		if err := d.Err(); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(w.Index, w.TrailingSlash, w.Redirects)
	}

	// Output:
	// index.html redirect [{/old/* /new/* 301}]
	// website:1:36: redirects[0].to: leads to a path which this rule matches again: clients would be sent on and on; write where the path leads in the end, or make from narrower
	// website:1:68: trailing_slash: has no effect without index; add index, such as "index.html", or remove it
}
