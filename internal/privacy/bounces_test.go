package privacy

// bounce is what a server, or somebody's MTA, said of a mail to recipient, and what is left of it.
type bounce struct {
	recipient, text string
	// private is what is left in the modes domain and hmac, dropped in the mode drop where that is something else.
	private, dropped string
}

// bounces are in the words of real servers, with people and hosts that are made up.
var bounces = []bounce{
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.1.1 <jan.jansen@example.org>: Recipient address rejected: User unknown in local recipient table",
		private:   "550 5.1.1 <[recipient]>: Recipient address rejected: User unknown in local recipient table",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "host mx1.example.org[192.0.2.25] said: 550 5.1.1 <Jan.Jansen@Example.ORG>: Recipient address rejected: User unknown in virtual mailbox table (in reply to RCPT TO command)",
		private:   "host mx1.example.org[192.0.2.25] said: 550 5.1.1 <[recipient]>: Recipient address rejected: User unknown in virtual mailbox table (in reply to RCPT TO command)",
		dropped:   "host mx1.[domain][192.0.2.25] said: 550 5.1.1 <[recipient]>: Recipient address rejected: User unknown in virtual mailbox table (in reply to RCPT TO command)",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "<jan.jansen@example.org>: Host or domain name not found. Name service error for name=example.org type=A: Host not found",
		private:   "<[recipient]>: Host or domain name not found. Name service error for name=example.org type=A: Host not found",
		dropped:   "<[recipient]>: Host or domain name not found. Name service error for name=[domain] type=A: Host not found",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "connect to mx.example.org[2001:db8::25]:25: Connection timed out",
		private:   "connect to mx.example.org[2001:db8::25]:25: Connection timed out",
		dropped:   "connect to mx.[domain][2001:db8::25]:25: Connection timed out",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "450 4.2.0 <jan.jansen@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.org.html",
		private:   "450 4.2.0 <[recipient]>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.org.html",
		dropped:   "450 4.2.0 <[recipient]>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/[domain].html",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "554 5.7.1 <jan.jansen@example.org>: Relay access denied",
		private:   "554 5.7.1 <[recipient]>: Relay access denied",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "to=<jan.jansen@example.org>, orig_to=<piet@example.net>, relay=mx.example.org[192.0.2.1]:25, delay=1.2, delays=0.1/0/0.5/0.6, dsn=5.1.1, status=bounced",
		private:   "to=<[recipient]>, orig_to=<[address]>, relay=mx.example.org[192.0.2.1]:25, delay=1.2, delays=0.1/0/0.5/0.6, dsn=5.1.1, status=bounced",
		dropped:   "to=<[recipient]>, orig_to=<[address]>, relay=mx.[domain][192.0.2.1]:25, delay=1.2, delays=0.1/0/0.5/0.6, dsn=5.1.1, status=bounced",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "maildir delivery failed: create maildir file /var/mail/vhosts/example.org/jan.jansen/tmp/1795256098.P123.mx: Permission denied",
		private:   "maildir delivery failed: create maildir file /var/mail/vhosts/[recipient]/tmp/1795256098.P123.mx: Permission denied",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "unable to look up host example.org: Name or service not known",
		private:   "unable to look up host example.org: Name or service not known",
		dropped:   "unable to look up host [domain]: Name or service not known",
	},
	{
		recipient: "info@example.org",
		text:      "550 5.1.1 <info@example.org>: Recipient address rejected: User unknown; for more info see https://www.example.org/info",
		private:   "550 5.1.1 <[recipient]>: Recipient address rejected: User unknown; for more info see https://www.example.org/info",
		dropped:   "550 5.1.1 <[recipient]>: Recipient address rejected: User unknown; for more info see https://www.[domain]/info",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.1.1 Unrouteable address: jan.jansen@example.org",
		private:   "550 5.1.1 Unrouteable address: [recipient]",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "jan.jansen@example.org\r\n    SMTP error from remote mail server after RCPT TO:<jan.jansen@example.org>:\r\n    host mx.example.org [192.0.2.7]: 550 No Such User Here",
		private:   "[recipient]\r\n    SMTP error from remote mail server after RCPT TO:<[recipient]>:\r\n    host mx.example.org [192.0.2.7]: 550 No Such User Here",
		dropped:   "[recipient]\r\n    SMTP error from remote mail server after RCPT TO:<[recipient]>:\r\n    host mx.[domain] [192.0.2.7]: 550 No Such User Here",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550-Verification failed for <bounce+jan.jansen=example.org@lists.example.net>\r\n550-No Such User Here\r\n550 Sender verify failed",
		private:   "550-Verification failed for <[recipient]>\r\n550-No Such User Here\r\n550 Sender verify failed",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 Administrative prohibition: envelope blocked - https://community.mimecast.com/docs/DOC-1369#550 [xYz-1.example]",
		private:   "550 Administrative prohibition: envelope blocked - https://community.mimecast.com/docs/DOC-1369#550 [xYz-1.example]",
	},
	{
		recipient: "jan@example.org",
		text:      "451 Temporary local problem - please try later (jan@example.org)",
		private:   "451 Temporary local problem - please try later ([recipient])",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      `550 "The mail server detected your message as spam and has prevented delivery."`,
		private:   `550 "The mail server detected your message as spam and has prevented delivery."`,
	},
	{
		recipient: "o'brien@example.ie",
		text:      "550 unknown user <O'Brien@example.ie>",
		private:   "550 unknown user <[recipient]>",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient jan.jansen@example.org not found by SMTP address lookup",
		private:   "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient [recipient] not found by SMTP address lookup",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [DB5EUR01FT049.eop-EUR01.prod.protection.outlook.com 2026-11-21T10:14:58.000Z 08DD0F]",
		private:   "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [DB5EUR01FT049.eop-EUR01.prod.protection.outlook.com 2026-11-21T10:14:58.000Z 08DD0F]",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "example-org.mail.protection.outlook.com [192.0.2.36]: 550 5.7.606 Access denied, banned sending IP [198.51.100.7]. To request removal from this list please visit https://sender.office.com/",
		private:   "example-org.mail.protection.outlook.com [192.0.2.36]: 550 5.7.606 Access denied, banned sending IP [198.51.100.7]. To request removal from this list please visit https://sender.office.com/",
		dropped:   "[domain].mail.protection.outlook.com [192.0.2.36]: 550 5.7.606 Access denied, banned sending IP [198.51.100.7]. To request removal from this list please visit https://sender.office.com/",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group",
		private:   "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "IMCEAEX-_O=EXAMPLE_OU=EXCHANGE_CN=RECIPIENTS_CN=JAN+2EJANSEN@example.org\n#550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found ##",
		private:   "[recipient]\n#550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found ##",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      `552 5.2.2 STOREDRV.Deliver; mailbox full. The following information should help identify the cause: "MapiExceptionShutoffQuotaExceeded:16.18969:ED000000"`,
		private:   `552 5.2.2 STOREDRV.Deliver; mailbox full. The following information should help identify the cause: "MapiExceptionShutoffQuotaExceeded:16.18969:ED000000"`,
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "554 5.2.1 STOREDRV.Deliver.Exception:AccountDisabledException; Failed to process message for legacyExchangeDN /o=ExchangeLabs/cn=jan.jansen",
		private:   "554 5.2.1 STOREDRV.Deliver.Exception:AccountDisabledException; Failed to process message for legacyExchangeDN /o=ExchangeLabs/cn=[recipient]",
	},
	{
		recipient: "jjansen@example.org",
		text:      `550 5.1.1 User unknown: EXAMPLE\jjansen`,
		private:   `550 5.1.1 User unknown: EXAMPLE\[recipient]`,
	},
	{
		recipient: "jan.jansen@gmail.com",
		text:      "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550-5.1.1 double-checking the recipient's email address for typos or\n550-5.1.1 unnecessary spaces. For more information, go to\n550 5.1.1  https://support.google.com/mail/?p=NoSuchUser a640c23a62f3a-9f2d4si1234566b.123 - gsmtp",
		private:   "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550-5.1.1 double-checking the recipient's email address for typos or\n550-5.1.1 unnecessary spaces. For more information, go to\n550 5.1.1  https://support.google.com/mail/?p=NoSuchUser a640c23a62f3a-9f2d4si1234566b.123 - gsmtp",
	},
	{
		recipient: "jan.jansen@gmail.com",
		text:      "452-4.2.2 The recipient's inbox is out of storage space. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaTemp 5b1f17b1804b1-43 - gsmtp",
		private:   "452-4.2.2 The recipient's inbox is out of storage space. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaTemp 5b1f17b1804b1-43 - gsmtp",
	},
	{
		recipient: "jan.jansen@gmail.com",
		text:      "550 5.2.1 The email account that you tried to reach is inactive. https://support.google.com/mail/?p=DisabledUser jan.jansen@gmail.com - gsmtp",
		private:   "550 5.2.1 The email account that you tried to reach is inactive. https://support.google.com/mail/?p=DisabledUser [recipient] - gsmtp",
	},
	{
		recipient: "jan@example.org",
		text:      "421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your DKIM domain [news.example.net 35]. Thu, 21 Jan 2027 10:14:58 -0800 (PST)",
		private:   "421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your DKIM domain [news.example.net 35]. Thu, 21 Jan 2027 10:14:58 -0800 (PST)",
	},
	{
		recipient: "jan_j@yahoo.com",
		text:      "554 delivery error: dd This user doesn't have a yahoo.com account (jan_j@yahoo.com) [0] - mta1234.mail.ne1.yahoo.com",
		private:   "554 delivery error: dd This user doesn't have a yahoo.com account ([recipient]) [0] - mta1234.mail.ne1.yahoo.com",
		dropped:   "554 delivery error: dd This user doesn't have a [domain] account ([recipient]) [0] - mta1234.mail.ne1.[domain]",
	},
	{
		recipient: "jan_j@yahoo.com",
		text:      "554 30 Sorry, your message to jan_j@yahoo.com cannot be delivered. This mailbox is disabled (554.30).",
		private:   "554 30 Sorry, your message to [recipient] cannot be delivered. This mailbox is disabled (554.30).",
	},
	{
		recipient: "jan_j@yahoo.com",
		text:      "421 4.7.0 [TSS04] Messages from 198.51.100.7 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
		private:   "421 4.7.0 [TSS04] Messages from 198.51.100.7 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
	},
	{
		recipient: "jan@icloud.com",
		text:      "550 5.1.1 <jan@icloud.com>: user does not exist",
		private:   "550 5.1.1 <[recipient]>: user does not exist",
	},
	{
		recipient: "jan@gmx.de",
		text:      "550 Requested action not taken: mailbox unavailable\nFor explanation visit https://postmaster.gmx.net/en/error-messages?ip=198.51.100.7&c=hd",
		private:   "550 Requested action not taken: mailbox unavailable\nFor explanation visit https://postmaster.gmx.net/en/error-messages?ip=198.51.100.7&c=hd",
	},
	{
		recipient: "jan.jansen@web.de",
		text:      "Empfänger jan.jansen@web.de unbekannt",
		private:   "Empfänger [recipient] unbekannt",
	},
	{
		recipient: "jan.jansen@t-online.de",
		text:      "550 Benutzer jan.jansen existiert nicht / user jan.jansen unknown",
		private:   "550 Benutzer [recipient] existiert nicht / user [recipient] unknown",
	},
	{
		recipient: "jean.dupont@orange.fr",
		text:      "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR_416 [416] <jean.dupont@orange.fr>",
		private:   "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR_416 [416] <[recipient]>",
	},
	{
		recipient: "jean.dupont@free.fr",
		text:      "550 5.2.1 Cette boîte aux lettres est désactivée. This mailbox has been disabled (#5.2.1) - utilisateur jean.dupont inconnu",
		private:   "550 5.2.1 Cette boîte aux lettres est désactivée. This mailbox has been disabled (#5.2.1) - utilisateur [recipient] inconnu",
	},
	{
		recipient: "mario.rossi@libero.it",
		text:      "550 5.1.1 Utente sconosciuto: mario.rossi@libero.it",
		private:   "550 5.1.1 Utente sconosciuto: [recipient]",
	},
	{
		recipient: "juan.perez@example.es",
		text:      "550 El usuario 'juan.perez' no existe en este servidor",
		private:   "550 El usuario '[recipient]' no existe en este servidor",
	},
	{
		recipient: "joao.silva@example.com.br",
		text:      "550 5.1.1 Usuário joao.silva não existe neste domínio example.com.br",
		private:   "550 5.1.1 Usuário [recipient] não existe neste domínio example.com.br",
		dropped:   "550 5.1.1 Usuário [recipient] não existe neste domínio [domain]",
	},
	{
		recipient: "j.jansen@kpnmail.nl",
		text:      "550 5.1.1 Gebruiker onbekend: J.Jansen",
		private:   "550 5.1.1 Gebruiker onbekend: [recipient]",
	},
	{
		recipient: "ivan.petrov@example.ru",
		text:      "550 Message was not accepted -- invalid mailbox. Local mailbox ivan.petrov@example.ru is unavailable: user not found",
		private:   "550 Message was not accepted -- invalid mailbox. Local mailbox [recipient] is unavailable: user not found",
	},
	{
		recipient: "ivan.petrov@yandex.ru",
		text:      "550 5.7.1 No such user! Пользователь ivan.petrov не найден 1795256098-Ab3Cd",
		private:   "550 5.7.1 No such user! Пользователь [recipient] не найден 1795256098-Ab3Cd",
	},
	{
		recipient: "12345678@qq.com",
		text:      "550 Mailbox unavailable or access denied [MyTest== IP: 198.51.100.7]. 用户12345678@qq.com不存在",
		private:   "550 Mailbox unavailable or access denied [MyTest== IP: 198.51.100.7]. [recipient]不存在",
	},
	{
		recipient: "zhang.wei@example.cn",
		text:      "550 收件人zhang.wei@example.cn不存在，请联系postmaster@example.cn。",
		private:   "550 [recipient]不存在，[address]。",
	},
	{
		recipient: "anna.kowalska@example.pl",
		text:      "550 5.1.1 Użytkownik anna.kowalska nieznany (RCPT TO:<anna.kowalska@example.pl>)",
		private:   "550 5.1.1 Użytkownik [recipient] nieznany (RCPT TO:<[recipient]>)",
	},
	{
		recipient: "erika.mustermann@bücher.example",
		text:      "550 5.1.1 <erika.mustermann@xn--bcher-kva.example>: Empfänger unbekannt; bücher.example nimmt keine Post an",
		private:   "550 5.1.1 <[recipient]>: Empfänger unbekannt; bücher.example nimmt keine Post an",
		dropped:   "550 5.1.1 <[recipient]>: Empfänger unbekannt; [domain] nimmt keine Post an",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "Hi. This is the qmail-send program at mail.example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n<jan.jansen@example.org>:\n192.0.2.9 does not like recipient.\nRemote host said: 511 sorry, no mailbox here by that name (#5.1.1 - chkuser)\nGiving up on 192.0.2.9.",
		private:   "Hi. This is the qmail-send program at mail.example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n<[recipient]>:\n192.0.2.9 does not like recipient.\nRemote host said: 511 sorry, no mailbox here by that name (#5.1.1 - chkuser)\nGiving up on 192.0.2.9.",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "Sorry, no mailbox here by that name. vpopmail (#5.1.1) /home/vpopmail/domains/example.org/jan.jansen/",
		private:   "Sorry, no mailbox here by that name. vpopmail (#5.1.1) /home/vpopmail/domains/[recipient]/",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "user does not exist, but will deliver to /home/vpopmail/domains/example.org/postmaster/",
		private:   "user does not exist, but will deliver to /home/vpopmail/domains/example.org/postmaster/",
		dropped:   "user does not exist, but will deliver to /home/vpopmail/domains/[domain]/postmaster/",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.1.1 jan.jansen@example.org... User unknown",
		private:   "550 5.1.1 [recipient]... User unknown",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "   ----- The following addresses had permanent fatal errors -----\n<jan.jansen@example.org>\n    (reason: 550 5.1.1 User unknown)\n    (expanded from: <info@example.org>)",
		private:   "   ----- The following addresses had permanent fatal errors -----\n<[recipient]>\n    (reason: 550 5.1.1 User unknown)\n    (expanded from: <[address]>)",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "451 4.1.8 Domain of sender address bounces-17-jan.jansen=example.org@mail.example.net does not resolve",
		private:   "451 4.1.8 Domain of sender address [recipient] does not resolve",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "Final-Recipient: rfc822;jan.jansen@example.org\r\nOriginal-Recipient: rfc822;jan.jansen+40example.org\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.org\r\nDiagnostic-Code: smtp; 550 5.1.1 user unknown",
		private:   "Final-Recipient: rfc822;[recipient]\r\nOriginal-Recipient: rfc822;[recipient]\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.org\r\nDiagnostic-Code: smtp; 550 5.1.1 user unknown",
		dropped:   "Final-Recipient: rfc822;[recipient]\r\nOriginal-Recipient: rfc822;[recipient]\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.[domain]\r\nDiagnostic-Code: smtp; 550 5.1.1 user unknown",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "Reporting-MTA: dns; mail.example.net\nX-Postfix-Sender: rfc822; SRS0=Kp5a=TT=example.net=piet.pietersen@forwarder.example\nArrival-Date: Sat, 21 Nov 2026 10:14:58 +0100 (CET)",
		private:   "Reporting-MTA: dns; mail.example.net\nX-Postfix-Sender: rfc822; [address]\nArrival-Date: Sat, 21 Nov 2026 10:14:58 +0100 (CET)",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "Message-ID: <20261121101458.4F2A1@mail.example.net> rejected by filter",
		private:   "Message-ID: <[address]> rejected by filter",
	},
	{
		recipient: "jan+nieuws@example.org",
		text:      "550 5.1.1 <jan@example.org>: no such mailbox jan (ORCPT=rfc822;jan+2Bnieuws@example.org)",
		private:   "550 5.1.1 <[recipient]>: no such mailbox [recipient] (ORCPT=rfc822;[recipient])",
	},
	{
		recipient: "jan@example.org",
		text:      "550 user jan+nieuws@example.org over quota; prvs=0123456789=jan@example.org",
		private:   "550 user [recipient] over quota; [recipient]",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "SRS1=aBcD=relay.example.net==HHH=TT=example.org=jan.jansen@forwarder.example: loop detected",
		private:   "[recipient]: loop detected",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "554 5.7.1 Message blocked. Please see https://ers.trendmicro.com/reputations?email=jan.jansen%40example.org&ip=198.51.100.7 (mode: normal)",
		private:   "554 5.7.1 Message blocked. Please see https://ers.trendmicro.com/reputations?email=[recipient]&ip=198.51.100.7 (mode: normal)",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.7.1 Service unavailable; client [198.51.100.7] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/198.51.100.7",
		private:   "550 5.7.1 Service unavailable; client [198.51.100.7] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/198.51.100.7",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 permanent failure for one or more recipients (jan.jansen@example.org:blocked)",
		private:   "550 permanent failure for one or more recipients ([recipient]:blocked)",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 5.7.1 &lt;jan.jansen&#64;example.org&gt;: Recipient rejected&#46; Contact &lt;postmaster&#x40;example&period;org&gt;",
		private:   "550 5.7.1 &lt;[recipient]&gt;: Recipient rejected&#46; Contact &lt;[address]&gt;",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 cuda_nsu https://example.org/bounce?rcpt=jan.jansen%2540example.org&id=17",
		private:   "550 cuda_nsu https://example.org/bounce?rcpt=[recipient]&id=17",
		dropped:   "550 cuda_nsu https://[domain]/bounce?rcpt=[recipient]&id=17",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "554 5.7.1 : Relay denied for mailto:Jan.Jansen@EXAMPLE.ORG?subject=Delist",
		private:   "554 5.7.1 : Relay denied for mailto:[recipient]?subject=Delist",
	},
	{
		recipient: "jan.jansen@example.org",
		text:      "550 jan.jansen (at) example.org is no longer here, write to piet [at] example.net",
		private:   "550 [recipient] is no longer here, write to [address]",
	},
	{
		recipient: `"jan jansen"@example.org`,
		text:      `550 5.1.1 <"Jan Jansen"@example.org>: bad destination mailbox address`,
		private:   "550 5.1.1 <[recipient]>: bad destination mailbox address",
	},
	{
		recipient: "sales@example.org",
		text:      "550 Unknown user: sales. Our sales department can be reached by phone",
		private:   "550 Unknown user: [recipient]. Our sales department can be reached by phone",
	},
	{
		recipient: "unknown@example.org",
		text:      "550 5.1.1 User unknown: <unknown>",
		private:   "550 5.1.1 User unknown: <[recipient]>",
	},
	{
		recipient: "jan@example.org",
		text:      "Delivery of your mail of 12 Jan 2027 for user jan failed. Jan is on leave until Jan 31, 2027",
		private:   "Delivery of your mail of 12 Jan 2027 for user [recipient] failed. [recipient] is on leave until Jan 31, 2027",
	},
}
