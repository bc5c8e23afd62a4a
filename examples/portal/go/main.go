package main

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"strconv"
)

// For trying it out: each line of standard input is one ticket to make, written like the query of an address:
// key_id=2026a&secret=…&sid=…&sub=ana&iat=1767225600&exp=1767229200&role=staff&role=admin&name=…&email=…&password=…
func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields, err := url.ParseQuery(lines.Text())
		if err != nil {
			fmt.Println("refused:", err)
			continue
		}
		iat, _ := strconv.ParseInt(fields.Get("iat"), 10, 64)
		exp, _ := strconv.ParseInt(fields.Get("exp"), 10, 64)
		sid := fields.Get("sid")
		if !fields.Has("sid") {
			sid, _ = NewSessionID()
		}
		claims := Claims{sid, fields.Get("sub"), iat, exp, fields["role"], fields.Get("name"), fields.Get("email")}
		ticket, err := MintTicket(fields.Get("key_id"), fields.Get("secret"), claims, fields.Get("password"))
		if err != nil {
			fmt.Println("refused:", err)
			continue
		}
		fmt.Println(ticket)
	}
}
