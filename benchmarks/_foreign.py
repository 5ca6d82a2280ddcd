"""Requests in other languages that share no name of a tool with an English skill: words cannot tell what they are about.

Half are tasks and half are small talk. Without a multilingual embedder nothing should be injected for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FOREIGN: Mapping[str, Sequence[str]] = {
    "Chinese": (
        *(
            "帮我审查一下这段代码有没有漏洞",
            "写一封邮件向客户解释故障原因",
            "这个查询为什么这么慢",
            "把会议记录整理成要点",
        ),
        *("请为这个函数编写单元测试", "如何清理表格里的重复数据", "画一张图比较两年的销售额", "总结这份合同的主要条款"),
        *("帮我写本周的工作报告", "比较这两种方案的优缺点", "写一个脚本批量重命名文件", "程序一启动就崩溃怎么办"),
        *(
            "为新产品制定推广计划",
            "检查服务器的安全设置",
            "把这篇文章改得更通俗易懂",
            "今天天气怎么样",
            "你好,最近好吗",
        ),
        *("讲个笑话吧", "晚饭吃什么好", "明天几点日出", "谢谢你的帮助", "你叫什么名字", "推荐一部电影", "我今天很累"),
        *("怎么煮鸡蛋", "法国的首都是哪里", "祝你生日快乐", "帮我订一张机票", "附近有好吃的餐厅吗", "晚安"),
    ),
    "Spanish": (
        *("Revisa este cambio y dime si hay errores graves", "Redacta un correo para explicar la avería al cliente"),
        *(
            "¿Por qué tarda tanto esta consulta?",
            "Convierte mis apuntes de la reunión en un acta",
            "Escribe pruebas para esta función",
        ),
        *(
            "¿Cómo quito las filas repetidas de la hoja de cálculo?",
            "Haz un gráfico que compare las ventas de dos años",
        ),
        *("Resume las cláusulas principales de este contrato", "Prepara el informe semanal para mi jefe"),
        *("Compara las dos opciones y recomienda una", "Necesito un guion que cambie el nombre de muchos archivos"),
        *(
            "El programa se cierra nada más arrancar, ¿qué hago?",
            "Diseña un plan de lanzamiento para el producto nuevo",
        ),
        *(
            "Comprueba la seguridad de nuestro servidor",
            "Haz que este texto sea más fácil de leer",
            "¿Qué tiempo hace hoy?",
        ),
        *(
            "Hola, ¿cómo estás?",
            "Cuéntame un chiste",
            "¿Qué puedo cenar esta noche?",
            "Gracias por tu ayuda",
            "¿Cómo te llamas?",
        ),
        *(
            "Recomiéndame una película",
            "Estoy muy cansado",
            "¿Cómo se cuece un huevo?",
            "¿Cuál es la capital de Francia?",
        ),
        *(
            "Feliz cumpleaños",
            "Quiero reservar una mesa para dos",
            "¿A qué hora sale el sol mañana?",
            "Buenas noches",
            "Me duele la cabeza",
        ),
    ),
    "German": (
        *(
            "Prüfe diese Änderung auf Fehler und Lücken",
            "Schreibe dem Kunden, warum der Dienst gestern ausgefallen ist",
        ),
        *(
            "Warum ist diese Abfrage so langsam?",
            "Mach aus meinen Notizen ein Protokoll der Besprechung",
            "Schreibe Prüfungen für diese Funktion",
        ),
        *(
            "Wie entferne ich doppelte Zeilen aus der Tabelle?",
            "Zeichne ein Diagramm, das die Umsätze zweier Jahre vergleicht",
        ),
        *("Fasse die wichtigsten Punkte dieses Vertrags zusammen", "Schreibe den Wochenbericht für meine Chefin"),
        *("Stelle Vor- und Nachteile der beiden Angebote gegenüber", "Ich brauche etwas, das viele Dateien umbenennt"),
        *("Das Programm stürzt gleich nach dem Start ab, was nun?", "Plane die Einführung unseres neuen Produkts"),
        *(
            "Ist unser Rechner gut gegen Angriffe geschützt?",
            "Mach diesen Text leichter verständlich",
            "Wie wird das Wetter heute?",
        ),
        *(
            "Hallo, wie geht es dir?",
            "Erzähl mir einen Witz",
            "Was koche ich heute Abend?",
            "Vielen Dank für deine Hilfe",
            "Wie heißt du?",
        ),
        *(
            "Empfiehl mir einen Film",
            "Ich bin so müde",
            "Wie lange kocht ein Ei?",
            "Was ist die Hauptstadt von Frankreich?",
        ),
        *(
            "Alles Gute zum Geburtstag",
            "Einen Tisch für zwei, bitte",
            "Wann geht morgen die Sonne auf?",
            "Gute Nacht",
            "Mir tut der Kopf weh",
        ),
    ),
    "Arabic": (
        *(
            "راجع هذا التعديل وأخبرني إن كانت فيه أخطاء",
            "اكتب رسالة إلى العميل تشرح سبب العطل",
            "لماذا هذا الاستعلام بطيء جدا؟",
        ),
        *("حوّل ملاحظات الاجتماع إلى محضر قصير", "اكتب اختبارات لهذه الدالة", "كيف أحذف الصفوف المكررة من الجدول؟"),
        *(
            "ارسم مخططا يقارن مبيعات سنتين",
            "لخص أهم بنود هذا العقد",
            "اكتب التقرير الأسبوعي لمديري",
            "قارن بين الخيارين واقترح أحدهما",
        ),
        *(
            "أحتاج برنامجا صغيرا يغير أسماء الملفات",
            "البرنامج يتوقف عند التشغيل فماذا أفعل؟",
            "ضع خطة لإطلاق المنتج الجديد",
        ),
        *(
            "افحص أمان الخادم",
            "اجعل هذا النص أسهل للقراءة",
            "كيف الطقس اليوم؟",
            "مرحبا كيف حالك",
            "احك لي نكتة",
            "ماذا أطبخ الليلة؟",
        ),
        *(
            "شكرا على مساعدتك",
            "ما اسمك؟",
            "اقترح علي فيلما",
            "أنا متعب جدا",
            "كيف أسلق البيض؟",
            "ما عاصمة فرنسا؟",
            "عيد ميلاد سعيد",
        ),
        *("أريد حجز طاولة لشخصين", "متى تشرق الشمس غدا؟", "تصبح على خير", "رأسي يؤلمني"),
    ),
}
